// Dialogs of a page: opened and closed by buttons, asked for a yes, and shown a secret once.

import { copied } from "./clipboard.js";
import { element, find } from "./dom.js";

/**
 * @param {string} question
 * @param {string} action what the button says
 * @param {{warning?: string, isDangerous?: boolean}} [options]
 * @returns {Promise<boolean>}
 */
export function confirmed(question, action, { warning = "", isDangerous = true } = {}) {
  const no = element("button", { type: "submit", value: "" }, "Cancel");
  const yes = element("button", { type: "submit", class: isDangerous ? "danger" : "primary", value: "yes" }, action);
  const title = warning ? element("h2", { id: "question" }, question) : element("p", { id: "question" }, question);
  const text = warning ? [element("p", {}, warning)] : [];
  const form = element("form", { method: "dialog" }, title, ...text, element("div", { class: "actions" }, no, yes));
  const dialog = element("dialog", { "aria-labelledby": "question" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

/**
 * Shows a secret until the dialog is closed; nothing of it stays in the page.
 * @param {string} title
 * @param {string} hint
 * @param {string} secret
 * @returns {Promise<void>} once it is closed
 */
export function showOnce(title, hint, secret) {
  const copy = element("button", { type: "button" }, "Copy");
  const told = element("span", { class: "muted", role: "status" });
  copy.addEventListener("click", async () => {
    told.textContent = (await copied(secret)) ? "Copied" : "The browser forbids it: select the text, and copy it.";
  });
  const done = element("button", { type: "submit", class: "primary" }, "Done");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "once-title" }, title),
    element("p", {}, hint),
    element("output", { class: "secret", tabindex: "0", "aria-label": title }, secret),
    element("div", { class: "actions" }, told, copy, done),
  );
  const dialog = element("dialog", { "aria-labelledby": "once-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  copy.focus();
  const close = () => dialog.close();
  addEventListener("pagehide", close); // Back would bring it out of the browser's memory
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      removeEventListener("pagehide", close);
      dialog.remove();
      resolve();
    });
  });
}

document.addEventListener("click", (event) => {
  const clicked = event.target instanceof Element ? event.target : null;
  const opens = clicked?.closest("[data-opens]")?.getAttribute("data-opens");
  if (opens) find(`#${opens}`, HTMLDialogElement).showModal();
  if (clicked?.closest("[data-closes]")) clicked.closest("dialog")?.close();
});
