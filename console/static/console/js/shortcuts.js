// The keys of a page: one listener for all of them, and the dialog that lists them.

import { element } from "./dom.js";

/**
 * One line of the dialog: what its keys do. Keys are named as by `KeyboardEvent.key`, letters small, perhaps after
 * "Ctrl+". An act that returns false leaves the key to the browser; null is what the browser does by itself.
 * @typedef {{label: string, keys: Record<string, ((event: KeyboardEvent) => unknown) | null>}} Shortcut
 */

const TYPED = 'input:not([type="checkbox"], [type="radio"], [type="range"]), textarea, select, [contenteditable]';
/** What has a use for arrow keys of its own. */
const STEPPED = 'input, [role="tablist"], [role="listbox"], [role="menu"]';
/** @type {Record<string, string>} */
const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", "-": "−", " ": "Space" };

/** What the key of "+" gives without Shift. @type {Record<string, string>} */
const SAME = { "=": "+" };

/** @type {Shortcut[]} */
const known = [];

/**
 * Keys that act while the user neither types nor has a dialog or menu open.
 * @param {...Shortcut} shortcuts in the order of the dialog
 */
export function addShortcuts(...shortcuts) {
  known.push(...shortcuts);
  for (const button of buttons()) button.hidden = false;
}

/** Those of menus, for who does not know the key. */
const buttons = () => document.querySelectorAll(/** @type {"button"} */ ("[data-shortcuts]"));

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
  const [, first = "", last = key] = /^(Ctrl\+)?(.+)$/.exec(key) ?? [];
  return first + (SHOWN[last] ?? (last.length === 1 ? last.toUpperCase() : last));
}

/** @param {KeyboardEvent} event */
function isForAnother(event) {
  if (event.defaultPrevented || event.altKey || event.isComposing) return true;
  if (document.querySelector("dialog:modal, :popover-open")) return true;
  const target = event.target instanceof Element ? event.target : document.body;
  return target.closest(event.key.startsWith("Arrow") ? `${TYPED}, ${STEPPED}` : TYPED) !== null;
}

document.addEventListener("keydown", (event) => {
  if (isForAnother(event)) return;
  const name = SAME[event.key] ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const key = event.ctrlKey || event.metaKey ? `Ctrl+${name}` : name;
  const act = key === "?" && known.length ? showShortcuts : known.find(({ keys }) => keys[key])?.keys[key];
  if (act && act(event) !== false) event.preventDefault();
});
for (const button of buttons()) {
  button.addEventListener("click", () => {
    /** @type {HTMLElement | null} */ (button.closest("[popover]"))?.hidePopover(); // first: the focus goes back to what opened it
    showShortcuts();
  });
}
