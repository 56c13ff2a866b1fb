// The account page and the pages of its webhooks.

import { call } from "./api.js";
import { element, find, icon } from "./dom.js";
import { clearFaults, submit } from "./forms.js";
import { localise } from "./times.js";

localise();
document.addEventListener("htmx:after:swap", () => localise());

/**
 * @param {string} selector
 * @param {(form: HTMLFormElement) => void} prepare
 */
function onForm(selector, prepare) {
  const form = document.querySelector(selector);
  if (form instanceof HTMLFormElement) prepare(form);
}

onForm("#name-form", (form) => {
  form.addEventListener("called", (event) => {
    const { name, email } = /** @type {CustomEvent} */ (event).detail;
    for (const shown of document.querySelectorAll(".who-name")) shown.textContent = name || email;
  });
});

onForm("#theme-form", (form) => {
  let saved = Promise.resolve();
  form.addEventListener("change", () => {
    const chosen = find("input:checked", HTMLInputElement, form).value;
    document.documentElement.dataset.theme = chosen;
    saved = saved.then(() => submit(form)); // one after the other: the last choice stays
  });
});

onForm("#defaults-form", (form) => {
  const list = find("#class-tokens", HTMLElement);
  const entry = find("#class-entry", HTMLInputElement);
  const changed = () => form.dispatchEvent(new Event("input", { bubbles: true }));
  const names = () => [...list.querySelectorAll("input")].map((input) => input.value);
  const add = () => {
    const name = entry.value.trim();
    if (name && !names().includes(name)) list.append(token(name));
    entry.value = "";
    entry.focus();
    changed();
  };
  find("#class-add", HTMLButtonElement).addEventListener("click", add);
  entry.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault(); // it would save the form
    add();
  });
  list.addEventListener("click", (event) => {
    const remove = event.target instanceof Element ? event.target.closest(".remove") : null;
    if (!remove) return;
    remove.closest("li")?.remove();
    entry.focus();
    changed();
  });
  form.addEventListener("submit", () => entry.value.trim() && add(), { capture: true });
});

/** @param {string} name */
function token(name) {
  const remove = element("button", { type: "button", class: "remove", "aria-label": `Remove ${name}` }, icon("close"));
  const value = element("input", { type: "hidden", name: "default_classes", value: name });
  return element("li", { class: "chip" }, element("span", { dir: "auto" }, name), value, remove);
}

for (const all of document.querySelectorAll("input[data-all]")) {
  const fieldset = all.closest("fieldset");
  if (!(all instanceof HTMLInputElement) || !fieldset) continue;
  const follow = () => {
    for (const one of fieldset.querySelectorAll("input")) if (one !== all) one.disabled = all.checked;
  };
  all.addEventListener("change", follow);
  all.form?.addEventListener("reset", () => setTimeout(follow));
  follow();
}

onForm("#delete-form", (form) => {
  const button = find('button[type="submit"]', HTMLButtonElement, form);
  const typed = find("[data-expected]", HTMLInputElement, form);
  typed.addEventListener("input", () => {
    button.disabled = typed.value.trim().toLowerCase() !== typed.dataset.expected;
  });
});

// A dialog that is closed forgets what was typed.
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    const form = dialog.querySelector("form");
    if (!form) return;
    form.reset();
    clearFaults(form);
    const expected = form.querySelector("[data-expected]");
    if (expected) find('button[type="submit"]', HTMLButtonElement, form).disabled = true;
  });
}

/** The numbers may take seconds to count, so the page does not wait for them. */
async function showNumbers() {
  const list = document.querySelector("#numbers");
  if (!list) return;
  const found = await call("GET", "users/statistics?days=1").catch(() => null); // the rest of the page works on
  list.removeAttribute("aria-busy");
  const most = find("#most-frequent", HTMLElement);
  if (!found) return void (most.textContent = "They cannot be counted now. Reload the page in a minute.");
  for (const shown of list.querySelectorAll("[data-number]")) {
    shown.textContent = found[shown.getAttribute("data-number") ?? ""].toLocaleString("en");
  }
  const names = found.per_class.slice(0, 5).map((/** @type {{object_class: string}} */ one) => one.object_class);
  if (names.length) most.textContent = `Mostly ${names.join(", ")}.`;
}
showNumbers();

// The section that is read is marked in the index: the one that was chosen there, until the user scrolls.
/** @type {Map<string, Element>} */
const links = new Map();
let chosen = location.hash.slice(1);
for (const link of document.querySelectorAll(".index a")) {
  const id = link.getAttribute("href")?.slice(1) ?? "";
  links.set(id, link);
  link.addEventListener("click", () => {
    chosen = id;
    mark(id);
  });
}
for (const scrolls of ["wheel", "touchmove", "keydown"]) {
  addEventListener(scrolls, () => (chosen = ""), { passive: true });
}
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) mark(links.has(chosen) ? chosen : entry.target.id);
  },
  { rootMargin: "-20% 0px -70% 0px" },
);
for (const section of document.querySelectorAll(".account section[id]")) seen.observe(section);

/** @param {string} id */
function mark(id) {
  for (const [name, link] of links) {
    if (name === id) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }
}
