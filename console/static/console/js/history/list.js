// The cards of the page, in parts as the server sends them.

import { find } from "../dom.js";
import { localise } from "../times.js";

const NEAR = "800px 0px"; // from the window, where the next part is asked for
const COVERED = 120; // pixels at the top of the window
const MOST_PARTS = 50; // that Back brings again

export const list = find("#history", HTMLElement);
const size = Number(list.dataset.pageSize);
/** @type {Record<string, string>} by the API's names */
export const conditions = JSON.parse(list.dataset.conditions ?? "{}");
const { ordering, ...others } = conditions;
export const filters = others;

/** Cards that were taken out: a later part may still have them. @type {Set<string>} */
const removed = new Set();
/** The place in the history of the part that comes next. */
let next = Number(list.dataset.offset) + size;
let isLoading = false;
/** @type {Set<(within: Element) => void>} */
const watchers = new Set();

/** @param {(within: Element) => void} watcher told when cards have come, changed or gone, and within which element */
export function onCards(watcher) {
  watchers.add(watcher);
}

/** @param {Element} within */
export function changed(within = list) {
  for (const watcher of watchers) watcher(within);
}

/**
 * @param {Element} within
 * @returns {HTMLElement[]}
 */
export function cards(within = list) {
  return [...within.querySelectorAll(/** @type {"li"} */ (".item"))];
}

export const parts = () => [...list.querySelectorAll(/** @type {"ul"} */ (".cards"))];

/** Cards in the window, and up to `margin` pixels beside it. Asking for the places of others would lay them out. */
export function cardsInSight(margin = 0) {
  const isNear = (/** @type {Element} */ item) => {
    const box = item.getBoundingClientRect();
    return box.bottom > COVERED - margin && box.top < innerHeight + margin;
  };
  return parts().filter(isNear).flatMap((part) => cards(part).filter(isNear));
}

/** @param {string} id */
export function card(id) {
  return document.getElementById(`d-${id}`);
}

/** @param {HTMLElement} item */
export function idOf(item) {
  return item.dataset.id ?? "";
}

/** Puts the cards into parts, so that no row but the last has gaps. @param {HTMLElement[]} all */
function lay(all) {
  parts().forEach((part, index) => {
    const wanted = all.slice(index * size, (index + 1) * size);
    const isSame = wanted.length === part.children.length && wanted.every((item, place) => part.children[place] === item);
    if (!isSame) part.replaceChildren(...wanted);
    part.toggleAttribute("hidden", wanted.length === 0);
  });
}

/**
 * Takes cards out of the list.
 * @param {Iterable<string>} ids
 * @returns {() => void} puts them back to their places
 */
export function take(ids) {
  const taken = new Set(ids);
  const before = cards();
  const focused = before.findIndex((item) => item.contains(document.activeElement));
  for (const id of taken) removed.add(id);
  lay(before.filter((item) => !taken.has(idOf(item))));
  addToTotal(-taken.size);
  changed();
  if (focused >= 0) before.slice(focused).find((item) => item.isConnected)?.querySelector("input")?.focus();
  return () => {
    for (const id of taken) removed.delete(id);
    addToTotal(taken.size);
    const known = new Set(before);
    lay([...before.filter((item) => !removed.has(idOf(item))), ...cards().filter((item) => !known.has(item))]);
    changed();
  };
}

const shownTotal = document.getElementById("total");

/** How many detections fulfil the filters. */
export const total = () => Number(shownTotal?.dataset.total ?? 0);

/** @param {number} number */
export const counted = (number) => `${number.toLocaleString("en")} detection${number === 1 ? "" : "s"}`;

/** @param {number} number */
function addToTotal(number) {
  if (!shownTotal) return;
  shownTotal.dataset.total = String(total() + number);
  shownTotal.textContent = counted(total());
}

/** Takes all cards out, and asks for no others: nothing that fulfils the filters is left. */
export function takeAll() {
  older()?.closest(".older")?.remove();
  take(cards().map(idOf));
  addToTotal(-total());
}

const older = () => document.getElementById("older");

let loaded = () => {};

/** @returns {Promise<void>} ends when the next part is there, or cannot be had */
function loadOlder() {
  const link = older();
  if (!link || isLoading) return Promise.resolve();
  return new Promise((resolve) => {
    loaded = resolve;
    link.dispatchEvent(new Event("near"));
  });
}

/** @param {any} ctx */
function isOlder(ctx) {
  return ctx.sourceElement?.id === "older";
}

/** The next part begins where this page's cards end, without those that it has taken out. @param {any} ctx */
function askForNext(ctx) {
  isLoading = true;
  const url = new URL(ctx.request.action, location.href);
  url.searchParams.set("offset", String(Math.max(0, next - removed.size)));
  ctx.request.action = url.pathname + url.search;
}

/** Rows that came or went meanwhile have moved the others: none is shown twice. */
function addPart() {
  next += size;
  const part = parts().at(-1);
  if (part) {
    const twice = cards(part).filter((item) => removed.has(idOf(item)) || card(idOf(item)) !== item);
    for (const item of twice) item.remove();
    if (twice.length || parts().at(-2)?.children.length !== size) lay(cards());
    changed(part);
  }
  watchEnd();
}

const observer = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) loadOlder();
}, { rootMargin: NEAR });

function watchEnd() {
  observer.disconnect();
  const link = older();
  if (link) observer.observe(link);
}

/** Where the page stands: the first card in the window, and how far from its top. */
function remember() {
  const [first] = cardsInSight();
  const seen = { parts: parts().length, id: first && idOf(first), top: first?.getBoundingClientRect().top, y: scrollY };
  history.replaceState({ ...history.state, htmx: true, seen }, "");
}

/** @param {{parts: number, id?: string, top?: number}} seen */
async function restore(seen) {
  for (let tries = 0; parts().length < Math.min(seen.parts, MOST_PARTS) && older() && tries < MOST_PARTS; tries++) await loadOlder();
  for (let frame = 0; frame < 3; frame++) {
    const item = card(seen.id ?? "");
    if (item) scrollBy(0, item.getBoundingClientRect().top - (seen.top ?? 0));
    await new Promise(requestAnimationFrame); // cards beside it take their real heights
  }
}

export function beginList() {
  history.scrollRestoration = "manual"; // the browser would scroll before the cards are there
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (isOlder(ctx)) askForNext(ctx);
  });
  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (!event.defaultPrevented && isOlder(ctx)) older()?.closest(".older")?.remove();
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const { ctx } = /** @type {CustomEvent} */ (event).detail;
    if (!isOlder(ctx) && ctx.sourceElement !== list) return; // the link is gone once its part is there
    isLoading = false;
    loaded();
  });
  list.addEventListener("htmx:after:swap", addPart);
  list.addEventListener("error", hideBroken, true);
  onCards(localise);
  localise(list);
  // htmx listens once the document is there, which is later than this.
  document.addEventListener("DOMContentLoaded", () => setTimeout(begin));
  let timer = 0;
  document.addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(remember, 200);
  }, { passive: true });
  list.addEventListener("click", remember, true);
}

async function begin() {
  const { seen } = history.state ?? {};
  if (seen) await restore(seen);
  watchEnd();
}

/** A picture whose file is gone leaves its place empty. @param {Event} event */
function hideBroken(event) {
  if (event.target instanceof HTMLImageElement) event.target.hidden = true;
}
