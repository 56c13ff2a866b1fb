// A card for each picture: while it is sent, while it waits, and what was found on it.

import { element, icon } from "../dom.js";

/**
 * @typedef {{object_class: string, objects: number, colour: string}} ClassCount
 * @typedef {{place: number[], colour: string}} Box as left, top, width and height in shares of the picture
 * @typedef {{id: string, width: number | null, height: number | null, boxes: Box[]}} Picture
 * @typedef {"pending" | "processing" | "completed" | "failed" | "cancelled"} Status
 * @typedef {{id: string, name: string, status: Status, total: number, processed: number, failed: number,
 *   percent: number, error: string, created_at: string, queue_position: number, image: Picture | null,
 *   classes: ClassCount[]}} Row
 * @typedef {import("./queue.js").Item} Item
 * @typedef {{onCancel: () => void, onRetry: () => void, onDismiss: () => void}} Actions
 */

const MOST_CLASSES = 3;
const SVG = "http://www.w3.org/2000/svg";

export class Card {
  /** @param {Actions} actions */
  constructor(actions) {
    this.picture = element("div", { class: "shot-picture" }, icon("image"));
    this.name = element("a", { class: "shot-name", dir: "auto" });
    this.state = element("p", { class: "shot-state" });
    this.bar = element("progress", { max: 1, hidden: true });
    this.classes = element("ul", { class: "shot-classes", "aria-label": "Found" });
    this.cancel = button("Cancel", "close", actions.onCancel);
    this.retry = button("Retry", "retry", actions.onRetry);
    this.dismiss = button("Dismiss", "close", actions.onDismiss);
    const about = element("div", { class: "shot-about" }, this.name, this.state, this.bar, this.classes);
    const buttons = element("div", { class: "shot-actions" }, this.retry, this.cancel, this.dismiss);
    this.element = element("li", { class: "shot" }, this.picture, about, buttons);
    this.shown = "";
    /** @type {Row | null} */
    this.row = null;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @returns {boolean} whether it is shown: the thumbnail may have been here first
   */
  showPreview(canvas) {
    if (this.shown) return false;
    this.picture.replaceChildren(canvas);
    this.shown = "preview";
    return true;
  }

  /** The server's thumbnail takes its place. */
  dropPreview() {
    if (this.shown !== "preview") return;
    this.picture.replaceChildren(icon("image"));
    this.shown = "";
    if (this.row) this.drawRow(this.row);
  }

  /** @param {Item} item */
  drawItem(item) {
    this.setName(item.file.name, "");
    this.setState(stateOfItem(item), item.phase === "refused" ? "failed" : item.phase);
    this.setProgress(item.phase === "sending" && item.share < 1 ? item.share : null);
    this.setButtons(item.phase === "queued" || item.phase === "sending", item.mayRetry, item.phase === "refused");
  }

  /** @param {Row} row */
  drawRow(row) {
    this.row = row;
    this.setName(row.name, `/results/${row.id}`);
    this.setState(stateOf(row), row.status);
    this.setProgress(row.status === "processing" && row.total > 1 ? row.percent / 100 : null);
    const isOpen = row.status === "pending" || row.status === "processing";
    this.setButtons(row.status === "pending" || (isOpen && row.total > 1), row.status === "failed", false);
    this.showClasses(isOpen ? [] : row.classes);
    if (row.image) this.showPicture(row.id, row.image);
  }

  /**
   * @param {string} name
   * @param {string} link
   */
  setName(name, link) {
    this.name.textContent = name;
    this.name.title = name;
    if (link) this.name.href = link;
    for (const each of [this.cancel, this.retry, this.dismiss]) {
      each.setAttribute("aria-label", `${each.title}: ${name}`);
    }
  }

  /**
   * @param {string} text
   * @param {string} kind
   */
  setState(text, kind) {
    this.element.dataset.state = kind;
    this.state.textContent = text;
  }

  /** @param {number | null} share */
  setProgress(share) {
    this.bar.hidden = share === null;
    this.bar.value = share ?? 0;
    this.bar.setAttribute("aria-label", `Progress of ${this.name.textContent}`);
  }

  /**
   * @param {boolean} cancel
   * @param {boolean} retry
   * @param {boolean} dismiss
   */
  setButtons(cancel, retry, dismiss) {
    this.cancel.hidden = !cancel;
    this.retry.hidden = !retry;
    this.dismiss.hidden = !dismiss;
  }

  /** @param {ClassCount[]} classes */
  showClasses(classes) {
    const more = classes.length - MOST_CLASSES;
    const chips = classes.slice(0, MOST_CLASSES).map(chip);
    if (more > 0) chips.push(element("li", { class: "muted" }, `+${more} more`));
    this.classes.hidden = !chips.length;
    this.classes.replaceChildren(...chips);
  }

  /**
   * @param {string} id
   * @param {Picture} picture
   */
  showPicture(id, picture) {
    if (!this.shown) {
      const path = `/api/v1/detect/${id}/images/${picture.id}/thumbnail`;
      const image = element("img", { src: path, alt: "", loading: "lazy", decoding: "async" });
      image.addEventListener("error", () => image.replaceWith(icon("image")));
      this.picture.replaceChildren(image);
      this.shown = "thumbnail";
    }
    this.picture.querySelector("svg.boxes")?.remove();
    if (picture.width && picture.height) this.picture.append(boxes(picture.width, picture.height, picture.boxes));
  }
}

/**
 * @param {string} text
 * @param {string} symbol
 * @param {() => void} action
 */
function button(text, symbol, action) {
  const made = element("button", { type: "button", class: "square", title: text }, icon(symbol));
  made.addEventListener("click", action);
  return made;
}

/** @param {ClassCount} count */
function chip(count) {
  const swatch = element("span", { class: "swatch" });
  swatch.style.backgroundColor = count.colour;
  const name = element("bdi", { class: "shot-class", title: count.object_class }, count.object_class);
  return element("li", {}, swatch, name, ` ${count.objects.toLocaleString("en")}`);
}

/**
 * Over the picture as `object-fit: cover` cuts it.
 * @param {number} width
 * @param {number} height
 * @param {Box[]} found
 */
function boxes(width, height, found) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "boxes");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "xMidYMid slice");
  svg.setAttribute("aria-hidden", "true");
  for (const { place, colour } of found) {
    const [left = 0, top = 0, across = 0, down = 0] = place;
    const sides = [left * width, top * height, across * width, down * height];
    svg.append(rectangle(sides, "#000000", 4), rectangle(sides, colour, 2));
  }
  return svg;
}

/**
 * @param {number[]} sides
 * @param {string} colour
 * @param {number} stroke
 */
function rectangle(sides, colour, stroke) {
  const made = document.createElementNS(SVG, "rect");
  ["x", "y", "width", "height"].forEach((name, index) => made.setAttribute(name, String(sides[index])));
  made.setAttribute("stroke", colour);
  made.setAttribute("stroke-width", String(stroke));
  made.setAttribute("vector-effect", "non-scaling-stroke");
  return made;
}

/** @param {Item} item */
function stateOfItem(item) {
  const seconds = Math.ceil((item.until - Date.now()) / 1000);
  if (item.phase === "queued") {
    return item.detail ? `${item.detail} Goes on in ${Math.max(seconds, 0)} s.` : "Waits to be sent";
  }
  if (item.phase === "sending" && item.share < 1) return `Sending ${Math.floor(item.share * 100)} %`;
  return item.phase === "refused" ? item.detail : "Sent";
}

/** @param {Row} row */
export function stateOf(row) {
  switch (row.status) {
    case "pending":
      return row.queue_position ? `Waiting: number ${row.queue_position} in the queue` : "Waiting";
    case "processing":
      return row.total > 1 ? `${row.percent} % of ${row.total} pictures` : "Processing";
    case "completed":
      return found(row);
    case "failed":
      return row.error;
    case "cancelled":
      return row.processed ? `Cancelled: ${found(row)}` : "Cancelled";
  }
}

/** @param {Row} row */
function found(row) {
  const objects = row.classes.reduce((sum, each) => sum + each.objects, 0);
  const what = objects ? `${count(objects, "object")}` : "Nothing was found";
  const where = row.total > 1 ? ` on ${count(row.processed, "picture")}` : "";
  return what + where + (row.failed ? `, ${row.failed} failed` : "");
}

/**
 * @param {number} number
 * @param {string} noun
 */
function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
