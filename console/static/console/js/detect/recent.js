// The newest detections as their rows have them.

import { call, read, Unreachable } from "../api.js";
import { lost, onReachable } from "../connection.js";
import { find, element } from "../dom.js";
import { isOpen, onConnection, onMessage } from "../live.js";
import { pause } from "../pause.js";
import { refreshSoon } from "../service.js";
import { toast } from "../toasts.js";
import { Card, stateOf } from "./cards.js";
import { cancel, isSending, retry } from "./queue.js";

/**
 * @typedef {import("./cards.js").Row} Row
 * @typedef {import("./queue.js").Item} Item
 * @typedef {{card: Card, row: Row | null, item: Item | null}} Entry
 */

const LIST = "/console/cards";
const AT_ONCE = 100; // ids the server takes
const EVERY = 3000;
const EVERY_WITH_MESSAGES = 10_000; // the images of other users move the queue, too
const REST = 100; // between two questions

const list = find("#cards", HTMLElement);
const empty = find("#no-cards", HTMLElement);
const told = find("#told", HTMLElement);

/** @type {Set<Entry>} */
const entries = new Set();
/** @type {Map<string, Entry>} */
const byId = new Map();
/** @type {Set<string>} */
const stale = new Set();
let isAsking = false;
let askedAt = 0;

/** @param {Row[]} rows */
export function begin(rows) {
  for (const row of [...rows].reverse()) draw(added(), row);
  showEmpty();
  onMessage((message) => {
    if (message.detection_id) touch(message.detection_id);
  });
  onReachable((now) => now && askAll());
  onConnection((now) => now && askNewest()); // no message told of what was sent before
  addEventListener("pageshow", (event) => event.persisted && askAll());
  setInterval(askAgain, 1000);
}

/**
 * @param {Item} item
 * @returns {Entry}
 */
export function addItem(item) {
  const entry = added();
  entry.item = item;
  drawItem(item, entry);
  showEmpty();
  return entry;
}

/**
 * @param {Item} item
 * @param {Entry} [known]
 */
export function drawItem(item, known) {
  const entry = known ?? [...entries].find((each) => each.item === item);
  if (!entry || entry.row) return;
  if (item.phase === "cancelled") return remove(entry);
  entry.card.drawItem(item);
  if (item.phase === "refused") say(`${item.file.name}: ${item.detail}`);
  if (!item.id) return;
  byId.set(item.id, entry);
  touch(item.id);
}

function added() {
  /** @type {Entry} */
  const entry = { card: new Card({ onCancel, onRetry, onDismiss }), row: null, item: null };
  entries.add(entry);
  list.prepend(entry.card.element);
  return entry;

  function onCancel() {
    if (entry.row) act(entry.row.id, "cancel");
    else if (entry.item) {
      cancel(entry.item);
      drawItem(entry.item);
    }
  }
  function onRetry() {
    if (entry.row) act(entry.row.id, "retry");
    else if (entry.item) retry(entry.item);
  }
  function onDismiss() {
    remove(entry);
  }
}

/**
 * @param {Entry} entry
 * @param {Row} row
 */
function draw(entry, row) {
  const before = entry.row?.status;
  entry.row = row;
  entry.item = null; // its file need not be kept any longer
  byId.set(row.id, entry);
  entry.card.drawRow(row);
  if (before && before !== row.status && isEnded(row)) say(`${row.name}: ${stateOf(row)}`);
}

/** @param {Row} row */
const isEnded = (row) => row.status !== "pending" && row.status !== "processing";

/** @param {Entry} entry */
function remove(entry) {
  const { element: shown } = entry.card;
  const hadFocus = shown.contains(document.activeElement);
  const next = shown.nextElementSibling ?? shown.previousElementSibling;
  entries.delete(entry);
  for (const [id, each] of byId) if (each === entry) byId.delete(id);
  shown.remove();
  showEmpty();
  if (hadFocus) /** @type {HTMLElement | null} */ ((next ?? document).querySelector("a[href], button:not([hidden])"))?.focus();
}

function showEmpty() {
  document.body.classList.toggle("has-cards", entries.size > 0);
  empty.hidden = entries.size > 0;
}

/**
 * @param {string} id
 * @param {"cancel" | "retry"} action
 */
async function act(id, action) {
  try {
    await call("POST", `detect/jobs/${id}/${action}`);
  } catch (error) {
    if (error instanceof Unreachable) lost();
    toast(error instanceof Error ? error.message : String(error));
  }
  touch(id);
}

/**
 * The rows of a detection have changed.
 * @param {string} id
 */
function touch(id) {
  stale.add(id);
  askStale();
}

async function askStale() {
  if (isAsking) return;
  isAsking = true;
  try {
    for (let ids = nextIds(); ids.length; ids = nextIds()) {
      await askFor(ids);
      await pause(REST);
    }
  } finally {
    isAsking = false;
  }
}

/** Which detections files on their way have made is known once they are sent: until then, others wait. */
function nextIds() {
  const ids = [...stale].filter((id) => byId.has(id) || !isSending()).slice(0, AT_ONCE);
  for (const id of ids) stale.delete(id);
  return ids;
}

/** @param {string[]} ids */
async function askFor(ids) {
  /** @type {Row[]} */
  let rows;
  try {
    rows = await read(`${LIST}?ids=${ids.join(",")}`);
  } catch (error) {
    for (const id of ids) stale.add(id);
    if (error instanceof Unreachable) lost();
    await pause(EVERY);
    return;
  }
  const present = new Set(rows.map((row) => row.id));
  for (const id of ids) {
    const entry = byId.get(id);
    if (entry && !present.has(id)) remove(entry); // deleted meanwhile
  }
  for (const row of rows.reverse()) draw(byId.get(row.id) ?? added(), row);
  showEmpty();
  refreshSoon();
}

async function askNewest() {
  /** @type {Row[]} */
  const rows = await read(LIST).catch(() => []);
  for (const row of rows) if (!byId.has(row.id)) stale.add(row.id);
  askStale();
}

function askAgain() {
  for (const entry of entries) if (entry.item?.until) entry.card.drawItem(entry.item);
  const every = isOpen ? EVERY_WITH_MESSAGES : EVERY;
  if (document.visibilityState !== "visible" || Date.now() - askedAt < every) return;
  askAll();
}

/** What has not ended. */
function askAll() {
  askedAt = Date.now();
  for (const [id, entry] of byId) if (!entry.row || !isEnded(entry.row)) stale.add(id);
  askStale();
}

/** @param {string} text read out by screen readers */
function say(text) {
  told.replaceChildren(element("p", { dir: "auto" }, text));
}
