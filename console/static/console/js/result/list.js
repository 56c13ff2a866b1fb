// The boxes as a list of buttons: the canvas in words.

import { element } from "../dom.js";
import { swatch } from "./filters.js";

/** @typedef {import("./boxes.js").Box} Box */

export class List {
  /**
   * @param {HTMLElement} root which the list is put into
   * @param {{onPoint: (box: Box | null) => void, onSelect: (box: Box) => void}} events
   */
  constructor(root, events) {
    this.root = root;
    /** @type {Map<Box, HTMLButtonElement>} */
    this.rows = new Map();
    /** @type {WeakMap<Element, Box>} */
    const boxes = new WeakMap();
    this.boxOf = boxes;
    root.addEventListener("pointerover", (event) => events.onPoint(this.boxUnder(event)));
    root.addEventListener("pointerleave", () => events.onPoint(null));
    root.addEventListener("focusin", (event) => {
      const box = this.boxUnder(event);
      if (box) events.onSelect(box);
    });
    root.addEventListener("click", (event) => {
      const box = this.boxUnder(event);
      if (box) events.onSelect(box);
    });
    root.addEventListener("keydown", (event) => this.walk(event));
  }

  /**
   * The list of another picture, a new element.
   * @param {Box[]} boxes
   */
  setBoxes(boxes) {
    this.rows = new Map();
    const items = boxes.map((box) => {
      const row = rowOf(box);
      this.rows.set(box, row);
      this.boxOf.set(row, box);
      return element("li", {}, row);
    });
    return element("ul", { class: "rows", "aria-label": "Objects" }, ...items);
  }

  /** @param {(box: Box) => boolean} shows */
  filter(shows) {
    for (const [box, row] of this.rows) /** @type {HTMLElement} */ (row.parentElement).hidden = !shows(box);
  }

  /** @param {Box | null} box */
  point(box) {
    this.mark("pointed", box);
  }

  /** @param {Box | null} box */
  select(box) {
    this.root.querySelector("[aria-current]")?.removeAttribute("aria-current");
    this.rowOf(box)?.setAttribute("aria-current", "true");
  }

  /** @param {Box | null} box */
  reveal(box) {
    this.rowOf(box)?.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {string} name
   * @param {Box | null} box
   */
  mark(name, box) {
    this.root.querySelector(`.${name}`)?.classList.remove(name);
    this.rowOf(box)?.classList.add(name);
  }

  /** @param {Box | null} box */
  rowOf(box) {
    return box ? this.rows.get(box) : undefined;
  }

  /** @param {Event} event */
  boxUnder(event) {
    const row = event.target instanceof Element ? event.target.closest(".rows button") : null;
    return (row && this.boxOf.get(row)) ?? null;
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const shown = [...this.rows.values()].filter((row) => !row.parentElement?.hidden);
    const now = shown.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    shown[Math.min(Math.max(now + step, 0), shown.length - 1)]?.focus();
  }
}

/** @param {Box} box */
function rowOf(box) {
  const part = element("span", {});
  part.style.width = `${100 * box.confidence}%`;
  const name = element("span", { class: "name", dir: "auto", title: box.object_class }, box.object_class);
  const share = element("span", { class: "share", "aria-hidden": "true" }, part);
  return element("button", { type: "button", class: "quiet" }, swatch(box.fill), name, element("span", { class: "number" }, box.confidence.toFixed(2)), share);
}
