// The keys of a page: one listener for all of them, and the dialog that lists them.

import { element } from "./dom.js";

/**
 * One line of the dialog: what its keys do. Keys are named as by `KeyboardEvent.key`, letters small.
 * @typedef {{label: string, keys: Record<string, (event: KeyboardEvent) => void>}} Shortcut
 */

const TYPED = 'input:not([type="checkbox"], [type="radio"], [type="range"]), textarea, select, [contenteditable]';
/** What has a use for arrow keys of its own. */
const STEPPED = 'input, [role="tablist"], [role="listbox"], [role="menu"]';
/** @type {Record<string, string>} */
const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", "-": "−", " ": "Space" };

/** @type {Shortcut[]} */
const known = [];

/**
 * Keys that act while the user neither types nor has a dialog open.
 * @param {...Shortcut} shortcuts in the order of the dialog
 */
export function addShortcuts(...shortcuts) {
  known.push(...shortcuts);
}

/** Lists the keys of the page. */
export function showShortcuts() {
  const shown = dialog();
  document.body.append(shown);
  shown.addEventListener("close", () => shown.remove());
  shown.showModal();
}

function dialog() {
  const list = element("dl", { class: "keys" });
  for (const { label, keys } of [...known, { label: "This help", keys: { "?": showShortcuts } }]) {
    const caps = Object.keys(keys).map((key) => element("kbd", {}, nameOf(key)));
    list.append(element("dt", {}, label), element("dd", {}, ...caps));
  }
  const close = element("form", { method: "dialog", class: "actions" }, element("button", {}, "Close"));
  const title = element("h2", { id: "shortcuts-title" }, "Keyboard shortcuts");
  return element("dialog", { "aria-labelledby": "shortcuts-title" }, title, list, close);
}

/** @param {string} key */
function nameOf(key) {
  return SHOWN[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** @param {KeyboardEvent} event */
function isForAnother(event) {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return true;
  if (document.querySelector("dialog:modal")) return true;
  const target = event.target instanceof Element ? event.target : document.body;
  return target.closest(event.key.startsWith("Arrow") ? `${TYPED}, ${STEPPED}` : TYPED) !== null;
}

document.addEventListener("keydown", (event) => {
  if (isForAnother(event)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = key === "?" ? showShortcuts : known.find(({ keys }) => keys[key])?.keys[key];
  if (!act) return;
  event.preventDefault();
  act(event);
});
for (const button of document.querySelectorAll("[data-shortcuts]")) button.addEventListener("click", showShortcuts);
