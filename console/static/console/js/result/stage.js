// The picture and its boxes on one canvas at the device's resolution, drawn only when something has changed.

import { drawBoxes } from "./boxes.js";
import { onGestures } from "./gestures.js";

/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./picture.js").Picture} Picture */

const MARGIN = 16;
const REACH = 3; // a pointer may miss a box by so many CSS pixels
const LARGEST_ZOOM = 32;
const PIXELATED = 4; // CSS pixels of a picture's pixel

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{onPoint: (box: Box | null) => void, onSelect: (box: Box | null) => void, onZoom: (zoom: number) => void}} events
   */
  constructor(canvas, events) {
    this.canvas = canvas;
    this.events = events;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.ratio = devicePixelRatio;
    /** CSS pixels of the view, and of the picture; where its corner is, and the size of its pixel. */
    this.view = { width: 1, height: 1 };
    this.size = { width: 1, height: 1 };
    this.at = { x: 0, y: 0, scale: 1 };
    this.isFitted = true;
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {Box[]} */
    this.boxes = [];
    /** @type {Box | null} */
    this.pointed = null;
    /** @type {Box | null} */
    this.selected = null;
    this.showsBoxes = true;
    this.showsLabels = true;
    this.isDue = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    onGestures(canvas, {
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      pan: (dx, dy) => this.pan(dx, dy),
      point: (x, y) => this.point(this.boxAt(x, y)),
      leave: () => this.point(null),
      click: (x, y) => this.events.onSelect(this.boxAt(x, y)),
      double: (x, y) => (this.isFitted ? this.zoom(Math.max(2, 1 / this.at.scale), x, y) : this.fit()),
    });
    this.resize();
  }

  /**
   * Another picture, whose bitmap may come later.
   * @param {number} width
   * @param {number} height
   */
  setSize(width, height) {
    this.picture?.close();
    this.picture = null;
    this.size = { width, height };
    this.fit();
  }

  /** @param {Picture} picture */
  setPicture(picture) {
    this.picture = picture;
    this.change();
  }

  /** @param {Box[]} boxes the most confident first */
  setBoxes(boxes) {
    this.boxes = boxes;
    if (this.pointed && !boxes.includes(this.pointed)) this.pointed = null;
    if (this.selected && !boxes.includes(this.selected)) this.selected = null;
    this.change();
  }

  /** @param {Box | null} box */
  point(box) {
    if (this.pointed === box) return;
    this.pointed = box;
    this.canvas.classList.toggle("on-box", box !== null);
    this.events.onPoint(box);
    this.change();
  }

  /** @param {Box | null} box */
  select(box) {
    this.selected = box;
    this.change();
  }

  /**
   * Moves the picture so that the box is in the view.
   * @param {Box} box
   */
  reveal(box) {
    const at = this.rectangle(box);
    const isIn =
      at.left >= 0 && at.top >= 0 && at.left + at.width <= this.view.width && at.top + at.height <= this.view.height;
    if (isIn || this.isFitted) return;
    this.pan(this.view.width / 2 - at.left - at.width / 2, this.view.height / 2 - at.top - at.height / 2);
  }

  fit() {
    this.isFitted = true;
    const scale = this.fittingScale();
    this.place(
      (this.view.width - this.size.width * scale) / 2,
      (this.view.height - this.size.height * scale) / 2,
      scale,
    );
  }

  /** @returns {number} CSS pixels of a picture's pixel; small pictures are not blown up beyond four */
  fittingScale() {
    const width = Math.max(1, this.view.width - 2 * MARGIN);
    const height = Math.max(1, this.view.height - 2 * MARGIN);
    return Math.min(width / this.size.width, height / this.size.height, PIXELATED);
  }

  /**
   * @param {number} factor
   * @param {number} [x] what stays where it is: by default the middle
   * @param {number} [y]
   */
  zoom(factor, x = this.view.width / 2, y = this.view.height / 2) {
    const least = Math.min(this.fittingScale(), 1);
    const scale = Math.min(Math.max(this.at.scale * factor, least), LARGEST_ZOOM);
    const share = scale / this.at.scale;
    this.isFitted = false;
    this.place(x - (x - this.at.x) * share, y - (y - this.at.y) * share, scale);
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.isFitted = false;
    this.place(this.at.x + dx, this.at.y + dy, this.at.scale);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} scale
   */
  place(x, y, scale) {
    this.at = {
      x: kept(x, this.size.width * scale, this.view.width),
      y: kept(y, this.size.height * scale, this.view.height),
      scale,
    };
    this.canvas.classList.toggle("zoomed", !this.isFitted);
    this.events.onZoom(scale);
    this.change();
  }

  /** @param {Box} box */
  rectangle(box) {
    const { x, y, scale } = this.at;
    return {
      left: x + box.x * this.size.width * scale,
      top: y + box.y * this.size.height * scale,
      width: box.width * this.size.width * scale,
      height: box.height * this.size.height * scale,
    };
  }

  /**
   * The smallest box there.
   * @param {number} x
   * @param {number} y
   */
  boxAt(x, y) {
    let found = null;
    let least = Infinity;
    for (const box of this.showsBoxes ? this.boxes : []) {
      const { left, top, width, height } = this.rectangle(box);
      const isIn = x >= left - REACH && x <= left + width + REACH && y >= top - REACH && y <= top + height + REACH;
      if (isIn && width * height < least) [found, least] = [box, width * height];
    }
    return found;
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = devicePixelRatio;
    this.view = { width: Math.max(1, clientWidth), height: Math.max(1, clientHeight) };
    this.canvas.width = Math.round(this.view.width * this.ratio);
    this.canvas.height = Math.round(this.view.height * this.ratio);
    if (this.isFitted) this.fit();
    else this.pan(0, 0);
    this.draw(); // at once: a new size has emptied the canvas
  }

  change() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    const { context, ratio, view, at } = this;
    context.fillStyle = getComputedStyle(this.canvas).backgroundColor;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawPicture();
    this.canvas.dataset.view = `${at.x} ${at.y} ${at.scale}`;
    if (!this.showsBoxes) return;
    const placed = [];
    for (const box of this.boxes) {
      const place = this.rectangle(box);
      const isOut =
        place.left > view.width || place.top > view.height || place.left + place.width < 0 || place.top + place.height < 0;
      if (!isOut) placed.push({ box, at: place });
    }
    const marked = new Set([this.selected, this.pointed].filter((box) => box !== null));
    drawBoxes(context, placed, { ...view, ratio, labels: this.showsLabels, marked });
  }

  drawPicture() {
    const { context, ratio, picture, at, size, view } = this;
    const pixels = size.width * at.scale * ratio;
    const bitmap = picture?.bitmapFor(pixels);
    if (!picture || !bitmap) return;
    // Only the part that is seen is scaled.
    const share = bitmap.width / size.width;
    const left = Math.max(0, Math.floor(-at.x / at.scale));
    const top = Math.max(0, Math.floor(-at.y / at.scale));
    const right = Math.min(size.width, Math.ceil((view.width - at.x) / at.scale));
    const bottom = Math.min(size.height, Math.ceil((view.height - at.y) / at.scale));
    context.imageSmoothingEnabled = at.scale * ratio < PIXELATED;
    context.drawImage(
      bitmap, left * share, top * share, (right - left) * share, (bottom - top) * share,
      (at.x + left * at.scale) * ratio, (at.y + top * at.scale) * ratio,
      (right - left) * at.scale * ratio, (bottom - top) * at.scale * ratio,
    );
    const keep = () => false; // without memory for a larger bitmap the present one stays
    picture.sharpen(pixels).catch(keep).then((isSharper) => isSharper && this.change());
  }
}

/**
 * @param {number} start of the picture along one side
 * @param {number} length
 * @param {number} view
 */
function kept(start, length, view) {
  if (length <= view) return Math.min(Math.max(start, 0), view - length);
  return Math.min(Math.max(start, view / 2 - length), view / 2);
}
