// Draws boxes and their tags in pixels of the screen, whatever the zoom.

/**
 * A box as the server has it (0..1 of the picture), and how it is drawn.
 * @typedef {{class_id: number, object_class: string, confidence: number, x: number, y: number, width: number,
 *   height: number, fill: string, ink: string, tag: string}} Box
 * @typedef {{left: number, top: number, width: number, height: number}} Rectangle
 */

const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif';
const TAG_HEIGHT = 18;
const PAD = 5;
const LONGEST_NAME = 24;
/** Tags that would be covered by more than this share are left out: their boxes show them when pointed at. */
const MOST_COVERED = 0.3;
/** In a crowd of so many boxes, tags neither cover each other nor boxes that are smaller than they are. */
const CROWD = 60;
const CELL = 64;

/** @type {Map<string, number>} */
const widths = new Map();

/** @param {{object_class: string, confidence: number}} box */
export function tagOf(box) {
  const name = box.object_class.replace(/\s+/g, " ");
  const letters = [...name];
  const short = letters.length > LONGEST_NAME ? `${letters.slice(0, LONGEST_NAME - 1).join("")}…` : name;
  return `\u2068${short}\u2069 ${box.confidence.toFixed(2)}`; // isolated: marks of direction stay in the name
}

/**
 * @param {CanvasRenderingContext2D} context whose unit is the device's pixel
 * @param {{box: Box, at: Rectangle}[]} placed in CSS pixels, the most confident first
 * @param {{ratio: number, width: number, height: number, labels: boolean, marked: Set<Box>}} options
 */
export function drawBoxes(context, placed, options) {
  const plain = placed.filter(({ box }) => !options.marked.has(box));
  const marked = placed.filter(({ box }) => options.marked.has(box));
  context.lineJoin = "miter";
  outline(context, plain, options.ratio, 2);
  for (const { box, at } of marked) {
    context.globalAlpha = 0.2;
    context.fillStyle = box.fill;
    context.fillRect(...snapped(at, options.ratio, 0));
    context.globalAlpha = 1;
  }
  outline(context, marked, options.ratio, 3);
  drawTags(context, options.labels ? placed : marked, options);
}

/**
 * A line in the class's colour between a dark hairline and a light one, which show on any picture.
 * @param {CanvasRenderingContext2D} context
 * @param {{box: Box, at: Rectangle}[]} placed
 * @param {number} ratio
 * @param {number} line
 */
function outline(context, placed, ratio, line) {
  /** @type {Map<string, Rectangle[]>} */
  const byColour = new Map();
  for (const { box, at } of placed) {
    const same = byColour.get(box.fill);
    if (same) same.push(at);
    else byColour.set(box.fill, [at]);
  }
  const all = placed.map(({ at }) => at);
  stroke(context, all, ratio, "rgb(0 0 0 / 70%)", 1, line / 2 + 0.5);
  stroke(context, all, ratio, "rgb(255 255 255 / 50%)", 1, -line / 2 - 0.5);
  for (const [colour, same] of byColour) stroke(context, same, ratio, colour, line, 0);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Rectangle[]} rectangles
 * @param {number} ratio
 * @param {string} colour
 * @param {number} line
 * @param {number} outside CSS pixels
 */
function stroke(context, rectangles, ratio, colour, line, outside) {
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1, Math.round(line * ratio));
  context.beginPath();
  for (const at of rectangles) context.rect(...snapped(at, ratio, outside));
  context.stroke();
}

/**
 * @param {Rectangle} at
 * @param {number} ratio
 * @param {number} outside
 * @returns {[number, number, number, number]} in whole pixels of the device
 */
function snapped(at, ratio, outside) {
  const left = Math.round((at.left - outside) * ratio);
  const top = Math.round((at.top - outside) * ratio);
  const right = Math.round((at.left + at.width + outside) * ratio);
  const bottom = Math.round((at.top + at.height + outside) * ratio);
  return [left, top, Math.max(1, right - left), Math.max(1, bottom - top)];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{box: Box, at: Rectangle}[]} placed
 * @param {{ratio: number, width: number, height: number, marked: Set<Box>}} options
 */
function drawTags(context, placed, { ratio, width, height, marked }) {
  context.save();
  context.scale(ratio, ratio);
  context.font = FONT;
  context.textBaseline = "middle";
  const taken = new Taken();
  const isCrowd = placed.length > CROWD;
  const ordered = [...placed].sort((one, other) => Number(marked.has(other.box)) - Number(marked.has(one.box)));
  for (const { box, at } of ordered) {
    const size = widthOf(context, box.tag) + 2 * PAD;
    const isSmall = at.width < size || at.height < 2 * TAG_HEIGHT;
    const isMarked = marked.has(box);
    if (isCrowd && isSmall && !isMarked) continue;
    const share = isMarked ? Infinity : isCrowd ? 0 : MOST_COVERED;
    const place = bestPlace(at, size, width, height, taken, share * size * TAG_HEIGHT);
    if (!place) continue;
    taken.add(place);
    context.fillStyle = box.fill;
    context.fillRect(place.left, place.top, place.width, place.height);
    context.fillStyle = box.ink;
    context.fillText(box.tag, place.left + PAD, place.top + TAG_HEIGHT / 2 + 0.5);
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 */
function widthOf(context, text) {
  let known = widths.get(text);
  if (known === undefined) {
    known = Math.ceil(context.measureText(text).width);
    widths.set(text, known);
  }
  return known;
}

/**
 * Above the box, inside of it or below it: where it covers least of other tags.
 * @param {Rectangle} at
 * @param {number} size
 * @param {number} width of the view
 * @param {number} height of the view
 * @param {Taken} taken
 * @param {number} most CSS pixels of other tags that it may cover
 */
function bestPlace(at, size, width, height, taken, most) {
  const right = at.left + at.width;
  const bottom = at.top + at.height;
  let best = null;
  let least = most;
  for (const top of [at.top - TAG_HEIGHT - 1, at.top + 1, bottom + 1, bottom - TAG_HEIGHT - 1]) {
    for (const left of [at.left - 1, right - size + 1]) {
      const place = {
        left: Math.round(Math.max(0, Math.min(left, width - size))),
        top: Math.round(Math.max(0, Math.min(top, height - TAG_HEIGHT))),
        width: size,
        height: TAG_HEIGHT,
      };
      const covered = taken.covered(place);
      if (covered === 0) return place;
      if (covered < least) [best, least] = [place, covered];
    }
  }
  return best;
}

/** The places of tags, found by the cells of a grid. */
class Taken {
  constructor() {
    /** @type {Map<number, Rectangle[]>} */
    this.cells = new Map();
  }

  /** @param {Rectangle} place */
  add(place) {
    for (const key of cellsOf(place)) {
      const there = this.cells.get(key);
      if (there) there.push(place);
      else this.cells.set(key, [place]);
    }
  }

  /** @param {Rectangle} place */
  covered(place) {
    let sum = 0;
    for (const key of cellsOf(place)) {
      for (const other of this.cells.get(key) ?? []) sum += common(place, other);
    }
    return sum;
  }
}

/** @param {Rectangle} place */
function cellsOf({ left, top, width, height }) {
  const keys = [];
  for (let x = Math.floor(left / CELL); x <= Math.floor((left + width) / CELL); x++) {
    for (let y = Math.floor(top / CELL); y <= Math.floor((top + height) / CELL); y++) keys.push(x * 65536 + y);
  }
  return keys;
}

/**
 * @param {Rectangle} one
 * @param {Rectangle} other
 */
function common(one, other) {
  const width = Math.min(one.left + one.width, other.left + other.width) - Math.max(one.left, other.left);
  const height = Math.min(one.top + one.height, other.top + other.height) - Math.max(one.top, other.top);
  return Math.max(0, width) * Math.max(0, height);
}
