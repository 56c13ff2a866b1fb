// Forms and buttons that call the API, as their attributes say:
//
// data-call="PATCH users/settings"  the method, and the path below /api/v1/
// data-body                         what a button sends, as JSON
// data-confirm, data-action         asks before, and what the button of the answer says
// data-refresh                      the parts of the page that are loaded again afterwards
// data-told                         a message afterwards; {names} are filled from the answer
// data-go                           where to go afterwards
// data-leaves                       this ends the page's session, whose socket must not lead to the log-in
// data-once, data-hint              the title of a dialog that shows the answer's secret once, and its text
//
// The event "called", with the answer as its detail, is for the page's own script.

import { ApiError, call, Unreachable } from "./api.js";
import { during } from "./busy.js";
import { confirmed, showOnce } from "./dialogs.js";
import { element } from "./dom.js";
import { connect, disconnect } from "./live.js";
import { toast } from "./toasts.js";

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

const DAY = 24 * 60 * 60 * 1000;
const SECRETS = ["key", "secret"];

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.dataset.call) return;
  event.preventDefault();
  submit(form);
});
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-call]") : null;
  if (button instanceof HTMLButtonElement) press(button);
});
document.addEventListener("input", (event) => {
  const form = event.target instanceof Element ? event.target.closest("form[data-call]") : null;
  if (form instanceof HTMLFormElement) saved(form, false);
});

/** @param {HTMLFormElement} form */
export async function submit(form) {
  clearFaults(form);
  const wrong = controls(form).filter((control) => control.validity.badInput);
  for (const control of wrong) showFault(form, control.name, "This is not complete or no number.");
  if (wrong.length) return focusFault(form);
  const button = form.querySelector('button[type="submit"]');
  await during(button, async () => {
    try {
      const answer = await request(form, values(form));
      saved(form, true);
      await after(form, answer);
    } catch (error) {
      explain(form, error);
    }
  });
}

/** @param {HTMLButtonElement} button */
async function press(button) {
  const { confirm, action, body } = button.dataset;
  if (confirm && !(await confirmed(confirm, action ?? "Yes"))) return;
  await during(button, async () => {
    try {
      const answer = await request(button, body ? JSON.parse(body) : null);
      await after(button, answer);
    } catch (error) {
      toast(messageOf(error));
      refresh(button); // the page may show what is no more
    }
  });
}

/**
 * @param {HTMLElement} sender
 * @param {object | null} body
 */
async function request(sender, body) {
  const [method, path] = (sender.dataset.call ?? "").split(" ");
  const leaves = sender.dataset.leaves !== undefined;
  if (leaves) disconnect();
  try {
    return await call(method ?? "", path ?? "", body);
  } catch (error) {
    if (leaves) connect();
    throw error;
  }
}

/**
 * @param {HTMLElement} sender
 * @param {any} answer
 */
async function after(sender, answer) {
  sender.dispatchEvent(new CustomEvent("called", { detail: answer, bubbles: true }));
  if (sender instanceof HTMLFormElement) tidy(sender);
  const { told, go, once, hint, leaves } = sender.dataset;
  refresh(sender);
  if (once) await showOnce(once, hint ?? "", answer[SECRETS.find((name) => name in answer) ?? ""]);
  if (told) toast(told.replace(/\{(\w+)\}/g, (_, name) => String(answer?.[name])));
  if (go) location.assign(go);
  else if (leaves !== undefined) connect();
}

/**
 * Empties a form that is done with, and closes its dialog. Passwords are never left.
 * @param {HTMLFormElement} form
 */
function tidy(form) {
  const dialog = form.closest("dialog");
  if (dialog || form.dataset.clear !== undefined) form.reset();
  dialog?.close();
}

/** @param {HTMLElement} sender */
function refresh(sender) {
  const parts = sender.dataset.refresh;
  if (!parts) return;
  for (const part of document.querySelectorAll(parts)) part.dispatchEvent(new Event("refresh"));
}

/** @param {HTMLFormElement} form */
export function values(form) {
  /** @type {Record<string, any>} */
  const found = {};
  for (const name of (form.dataset.lists ?? "").split(" ").filter(Boolean)) found[name] = [];
  for (const control of controls(form)) {
    const value = valueOf(control);
    if (Array.isArray(found[control.name])) {
      if (!isBox(control) || control.checked) found[control.name].push(control.value);
    } else if (value !== undefined) {
      found[control.name] = value;
    }
  }
  return found;
}

/** @param {HTMLFormElement} form */
function controls(form) {
  const all = /** @type {Control[]} */ ([...form.elements].filter((one) => "value" in one && "validity" in one));
  return all.filter((control) => control.name && control.dataset.unsent === undefined);
}

/**
 * @param {Control} control
 * @returns {control is HTMLInputElement}
 */
const isBox = (control) => control.type === "checkbox" || control.type === "radio";

/**
 * As the API takes it; undefined for what is not sent.
 * @param {Control} control
 */
function valueOf(control) {
  const { value, type } = control;
  if (control.dataset.days !== undefined) return value ? new Date(Date.now() + Number(value) * DAY) : null;
  if (type === "number") return value === "" ? null : Number(value);
  if (type === "datetime-local") return value === "" ? undefined : new Date(value);
  if (isBox(control) && type === "radio") return control.checked ? value : undefined;
  return isBox(control) ? control.checked : value;
}

/**
 * @param {HTMLFormElement} form
 * @param {boolean} now
 */
function saved(form, now) {
  const note = form.querySelector("[data-saved]");
  if (note instanceof HTMLElement) note.textContent = now ? (note.dataset.saved || "Saved") : "";
}

/**
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
function explain(form, error) {
  if (!(error instanceof ApiError) || !error.faults.length) return showFault(form, "", messageOf(error));
  for (const fault of error.faults) showFault(form, fault.attr ?? "", fault.detail);
  focusFault(form);
}

/** @param {unknown} error */
function messageOf(error) {
  if (error instanceof ApiError || error instanceof Unreachable) return error.message;
  throw error;
}

/**
 * Beside the field, or above the form's buttons if the fault is about none of its fields.
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {string} text
 */
function showFault(form, name, text) {
  const control = form.querySelector(`[name="${CSS.escape(name)}"]`);
  const field = control?.closest(".field") ?? null;
  const id = `fault-${form.id}-${name || "form"}`;
  const earlier = form.querySelector(`#${CSS.escape(id)}`);
  if (earlier) return earlier.append(` ${text}`);
  const shown = element("p", { class: "fault", id, role: field ? false : "alert" }, text);
  if (!control || !field) return form.querySelector(".form-end, .actions")?.before(shown);
  field.append(shown);
  control.setAttribute("aria-invalid", "true");
  const described = control.getAttribute("aria-describedby");
  control.setAttribute("data-described", described ?? "");
  control.setAttribute("aria-describedby", described ? `${described} ${id}` : id);
}

/** @param {HTMLFormElement} form */
function focusFault(form) {
  const first = form.querySelector('[aria-invalid="true"]');
  if (first instanceof HTMLElement) first.focus();
}

/** @param {HTMLFormElement} form */
export function clearFaults(form) {
  for (const fault of form.querySelectorAll(".fault")) fault.remove();
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    const described = control.getAttribute("data-described");
    if (described) control.setAttribute("aria-describedby", described);
    else control.removeAttribute("aria-describedby");
  }
}

document.documentElement.dataset.forms = "ready";
for (const form of document.querySelectorAll("form[data-waits]")) {
  if (form instanceof HTMLFormElement) submit(form); // it was sent before this script was here
}
