// Which detections are selected: cards of the page, or all that fulfil the filters.

import { find } from "../dom.js";
import { card, cards, idOf, list, onCards, total } from "./list.js";

const LONG_PRESS = 500;
const MOVED = 10; // pixels: then the finger scrolls

/** @type {Set<string>} */
const selected = new Set();
/** All that fulfil the page's filters, not only the cards that are there. */
let isAll = false;
/** Where a range begins. */
let anchor = "";

const bar = find("#selection", HTMLElement);
const count = find("#selected-count", HTMLElement);
const allButton = find("#select-matching", HTMLButtonElement);

export const isActive = () => isAll || selected.size > 0;

/** @returns {{ids: string[], isAll: boolean}} */
export const selection = () => ({ ids: [...selected], isAll });

export function clear() {
  selected.clear();
  isAll = false;
  show();
}

export function selectAll() {
  const all = cards();
  for (const item of all) selected.add(idOf(item));
  show();
  return all.length > 0;
}

/** Whether anything is selected. */
export function focusBar() {
  if (isActive()) find("button:not([hidden])", HTMLButtonElement, bar).focus();
  return isActive();
}

/** @param {Element} [within] */
function show(within) {
  const hadFocus = bar.contains(document.activeElement);
  for (const item of cards(within)) {
    const isChosen = isAll || selected.has(idOf(item));
    item.classList.toggle("selected", isChosen);
    const box = item.querySelector("input");
    if (box) box.checked = isChosen;
  }
  const number = isAll ? total() : selected.size;
  count.textContent = `${number.toLocaleString("en")} selected`;
  allButton.hidden = isAll || total() <= selected.size || !selected.size;
  allButton.textContent = `Select all ${total().toLocaleString("en")}`;
  if (!isActive() && hadFocus) card(anchor)?.querySelector("input")?.focus();
  bar.hidden = !isActive();
}

/** @param {string} id */
function toggle(id) {
  if (isAll) {
    isAll = false;
    for (const item of cards()) selected.add(idOf(item));
  }
  if (!selected.delete(id)) selected.add(id);
  anchor = id;
  show();
}

/** From the card that was chosen last to this one. @param {string} id */
function selectTo(id) {
  const ids = cards().map(idOf);
  const [from, to] = [ids.indexOf(anchor), ids.indexOf(id)].sort((a, b) => a - b);
  if (from === undefined || from < 0 || to === undefined) return toggle(id);
  for (const each of ids.slice(from, to + 1)) selected.add(each);
  show();
}

/** @param {Event} event */
function itemOf(event) {
  const item = /** @type {Element} */ (event.target).closest(".item");
  return item instanceof HTMLElement ? item : null;
}

let isShifted = false;
let wasPressed = false;

/** @param {Event} event */
function pick(event) {
  const item = itemOf(event);
  if (item) isShifted ? selectTo(idOf(item)) : toggle(idOf(item));
}

/** @param {MouseEvent} event */
function click(event) {
  const item = itemOf(event);
  if (!item || /** @type {Element} */ (event.target).closest(".pick")) return;
  const isPointer = event.detail > 0;
  if (wasPressed) {
    wasPressed = false;
    event.preventDefault();
  } else if (event.shiftKey && isPointer) {
    event.preventDefault();
    selectTo(idOf(item));
  } else if (event.ctrlKey || event.metaKey || (isActive() && isPointer)) {
    event.preventDefault();
    toggle(idOf(item));
  }
}

/** A finger that stays for half a second selects. @param {PointerEvent} down */
function press(down) {
  const item = itemOf(down);
  wasPressed = false;
  if (!item || down.pointerType !== "touch") return;
  const ended = new AbortController();
  const timer = setTimeout(() => {
    wasPressed = true;
    toggle(idOf(item));
  }, LONG_PRESS);
  const end = () => {
    clearTimeout(timer);
    ended.abort();
  };
  const { signal } = ended;
  addEventListener("pointermove", (move) => Math.hypot(move.x - down.x, move.y - down.y) > MOVED && end(), { signal });
  addEventListener("pointerup", end, { signal });
  addEventListener("pointercancel", end, { signal });
}

/** Detections that are gone are not selected any more. @param {Element} within */
function refresh(within) {
  if (!isActive()) return;
  for (const id of selected) if (!card(id)) selected.delete(id);
  show(within);
}

export function beginSelecting() {
  for (const type of /** @type {const} */ (["pointerdown", "keydown"])) {
    list.addEventListener(type, (event) => (isShifted = event.shiftKey), true);
  }
  list.addEventListener("change", pick);
  list.addEventListener("click", click);
  list.addEventListener("pointerdown", press);
  list.addEventListener("contextmenu", (event) => wasPressed && event.preventDefault());
  allButton.addEventListener("click", () => {
    isAll = true;
    show();
  });
  onCards(refresh);
  for (const item of cards()) if (item.querySelector("input")?.checked) selected.add(idOf(item)); // before scripts were here
  show();
}
