// Which boxes are shown: a least confidence and the classes, kept for the next pictures of this tab.

import { element, find } from "../dom.js";
import { keep, kept } from "../storage.js";

/** @typedef {import("./boxes.js").Box} Box */

const KEY = "console.result.filters";
const BARS = 20;

export class Filters {
  /**
   * @param {HTMLElement} root
   * @param {() => void} onChange
   */
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.slider = find("#confidence", HTMLInputElement, root);
    this.resetButton = find('[data-action="reset"]', HTMLButtonElement, root);
    /** @type {Box[]} */
    this.boxes = [];
    this.chips = this.makeChips();
    const last = kept("sessionStorage", KEY);
    this.least = Number(last?.least ?? 0);
    /** @type {Set<string>} */
    this.hidden = new Set(last?.hidden ?? []);
    this.slider.addEventListener("input", () => this.set(Number(this.slider.value), this.hidden));
    this.resetButton.addEventListener("click", () => {
      this.set(0, new Set());
      this.slider.focus();
    });
  }

  /**
   * The chips of another picture: new elements, so that nothing on the page moves.
   * @param {Box[]} boxes
   */
  setBoxes(boxes) {
    this.boxes = boxes;
    this.chips = this.makeChips();
    this.root.classList.toggle("nothing", boxes.length === 0);
    this.show();
    return this.chips;
  }

  /**
   * @param {number} least
   * @param {Set<string>} hidden
   */
  set(least, hidden) {
    this.least = least;
    this.hidden = hidden;
    keep("sessionStorage", KEY, { least, hidden: [...hidden] });
    this.show();
    this.onChange();
  }

  /** @param {Box} box */
  shows(box) {
    return box.confidence >= this.least && !this.hidden.has(box.object_class);
  }

  /** The names of the classes that are shown; null if none is hidden. */
  get classes() {
    const names = new Set(this.boxes.map((box) => box.object_class));
    const shown = [...names].filter((name) => !this.hidden.has(name));
    return shown.length === names.size ? null : shown;
  }

  show() {
    const percent = this.least.toFixed(2);
    this.slider.value = String(this.least);
    find(".least", HTMLOutputElement, this.root).value = percent;
    this.resetButton.hidden = this.least === 0 && this.hidden.size === 0;
    this.drawHistogram();
    for (const chip of this.chips.children) {
      const name = /** @type {HTMLElement} */ (chip).dataset.class ?? "";
      chip.setAttribute("aria-pressed", String(!this.hidden.has(name)));
    }
  }

  makeChips() {
    /** @type {Map<string, {count: number, fill: string}>} */
    const classes = new Map();
    for (const { object_class, fill } of this.boxes) {
      const known = classes.get(object_class);
      if (known) known.count += 1;
      else classes.set(object_class, { count: 1, fill });
    }
    const ordered = [...classes].sort((one, other) => other[1].count - one[1].count);
    const chips = ordered.map(([name, { count, fill }]) => {
      const label = element("span", { class: "name", dir: "auto", title: name }, name);
      const chip = element("button", { type: "button", class: "chip" }, swatch(fill), label, element("span", { class: "muted" }, String(count)));
      chip.dataset.class = name;
      chip.addEventListener("click", () => this.toggle(name));
      return chip;
    });
    return element("div", { class: "chips", role: "group", "aria-label": "Classes" }, ...chips);
  }

  /** @param {string} name */
  toggle(name) {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(name)) hidden.add(name);
    this.set(this.least, hidden);
  }

  drawHistogram() {
    const counts = new Array(BARS).fill(0);
    for (const box of this.boxes) counts[Math.min(BARS - 1, Math.floor(box.confidence * BARS))] += 1;
    const most = Math.max(1, ...counts);
    const bars = counts.map((count, at) => {
      const bar = element("span", { class: (at + 1) / BARS <= this.least ? "out" : "" });
      bar.style.height = `${count ? Math.max(8, (100 * count) / most) : 0}%`;
      return bar;
    });
    find(".histogram", HTMLElement, this.root).replaceChildren(...bars);
  }
}

/** @param {string} fill */
export function swatch(fill) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = fill;
  return made;
}
