// Cards show stored state: a live message only says which are stale.

import { find } from "../dom.js";
import { isOpen, onConnection, onMessage } from "../live.js";
import { card, cards, cardsInSight, changed, filters, idOf, list } from "./list.js";

const PAUSE = 500; // between two requests
const ASKED_EVERY = 3000; // while no messages come
const MOST = 100;

const changes = find("#changes", HTMLElement);
/** @type {Set<string>} */
const stale = new Set();
/** Those of the request under way. @type {string[]} */
let asked = [];
let timer = 0;

/** @param {Iterable<string>} ids */
export function redraw(ids) {
  for (const id of ids) stale.add(id);
  timer ||= setTimeout(ask, PAUSE);
}

function ask() {
  timer = 0;
  changes.dispatchEvent(new Event("stale"));
}

/** @param {any} ctx */
function name(ctx) {
  asked = [...stale].filter((id) => card(id)).slice(0, MOST);
  for (const id of stale) if (asked.includes(id) || !card(id)) stale.delete(id);
  const query = new URLSearchParams({ ...filters, ids: asked.join(","), newer: list.dataset.newest ?? "" });
  ctx.request.action = `${changes.getAttribute("hx-get")}?${query}`;
  if (stale.size) redraw([]);
}

const openIds = () => cards().filter((item) => item.hasAttribute("data-open")).map(idOf);

export function beginRedrawing() {
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (ctx.sourceElement === changes) name(ctx);
  });
  changes.addEventListener("htmx:after:swap", () => {
    asked = [];
    changed();
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (ctx.sourceElement === changes) for (const id of asked) stale.add(id); // it got no answer
  });
  onMessage((message) => message.detection_id && redraw([message.detection_id]));
  onConnection((now) => now && redraw(openIds())); // what ended before is told by no message
  setInterval(() => !isOpen && !document.hidden && redraw(openIds()), ASKED_EVERY);
  addEventListener("pageshow", (event) => event.persisted && redraw(cardsInSight(500).map(idOf)));
}
