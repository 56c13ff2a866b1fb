// The options of the next uploads: kept in this browser for each account.

import { find } from "../dom.js";
import { keep, kept } from "../storage.js";

const form = find("#options", HTMLFormElement);
const told = find("#options-told", HTMLElement);
const key = `console.options.${document.body.dataset.account}`;

/** What was chosen, by the names that the API has for it. */
export function chosen() {
  /** @type {[string, string][]} */
  const values = [];
  for (const [name, value] of new FormData(form)) if (value) values.push([name, String(value)]);
  return values;
}

export function isValid() {
  if (!form.checkValidity()) form.closest("details")?.setAttribute("open", ""); // a fault within is not seen
  return form.reportValidity();
}

export function begin() {
  restore();
  tell();
  form.addEventListener("input", remember);
  form.addEventListener("reset", () => setTimeout(remember));
  form.addEventListener("submit", (event) => event.preventDefault());
}

function restore() {
  for (const [name, value] of Object.entries(kept("localStorage", key) ?? {})) {
    const field = form.elements.namedItem(name);
    // A detector may be gone meanwhile: its name is no option any more.
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = String(value);
    if (field instanceof HTMLSelectElement && field.selectedIndex < 0) field.selectedIndex = 0;
  }
}

function remember() {
  keep("localStorage", key, Object.fromEntries(chosen()));
  tell();
}

function tell() {
  told.textContent = chosen().map(([name, value]) => `${name} ${value}`).join(" · ");
}
