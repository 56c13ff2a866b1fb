// The history: an endless list that is searched, selected and changed.

import { offerCode } from "./code_button.js";
import { runAction } from "./history/actions.js";
import { resumeExports } from "./history/exports.js";
import { beginList, conditions } from "./history/list.js";
import { beginRedrawing } from "./history/redrawing.js";
import { beginSelecting, clear, focusBar, isActive, selectAll } from "./history/selection.js";
import { addShortcuts } from "./shortcuts.js";
import { undo } from "./undo.js";

beginList();
beginSelecting();
beginRedrawing();
resumeExports();

for (const button of document.querySelectorAll("#selection [data-action]")) {
  button.addEventListener("click", () => runAction(/** @type {HTMLElement} */ (button).dataset.action ?? ""));
}

addShortcuts(
  { label: "Search", keys: { "/": () => document.getElementById("q")?.focus() } },
  { label: "Select all that is loaded", keys: { "Ctrl+a": selectAll } },
  { label: "Go to the buttons for what is selected", keys: { s: focusBar } },
  { label: "Delete what is selected", keys: { Delete: () => isActive() && runAction("delete") } },
  { label: "Undo", keys: { "Ctrl+z": undo } },
  { label: "Close a menu, or clear the selection", keys: { Escape: () => closeMenus() || clear() } },
);

// Menus close at a click beside them, and at Escape, also in their fields.
document.addEventListener("keydown", (event) => {
  const within = event.target instanceof Element ? event.target.closest("details.filter") : null;
  if (event.key === "Escape" && within) closeMenus();
});

function closeMenus() {
  const open = document.querySelector("details.filter[open]");
  open?.removeAttribute("open");
  open?.querySelector("summary")?.focus();
  return Boolean(open);
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.filter[open]")) {
    if (!menu.contains(/** @type {Node} */ (event.target))) menu.removeAttribute("open");
  }
});

// Grid and table are the same list: a click changes its look, and where it stands stays in view.
const choice = document.querySelector(".view-choice");
choice?.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest("a");
  const list = document.getElementById("history");
  if (!link || !list) return;
  event.preventDefault();
  const view = link.dataset.view ?? "grid";
  list.dataset.view = view;
  for (const other of choice.querySelectorAll("a")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const name = /** @type {HTMLElement} */ (choice).dataset.cookie;
  document.cookie = `${name}=${view}; path=/; max-age=31536000; samesite=lax`;
});

offerCode(() => {
  const query = new URLSearchParams(conditions).toString();
  return [{ title: "This history", method: "GET", path: query ? `detect/history?${query}` : "detect/history" }];
});
