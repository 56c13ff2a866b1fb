// Files on their way to the server: three at a time, each once, however often the connection breaks.

import { ApiError, Unreachable, upload } from "../api.js";
import { isReachable, lost, onReachable } from "../connection.js";

/**
 * @typedef {"queued" | "sending" | "sent" | "refused" | "cancelled"} Phase
 * @typedef {object} Item
 * @property {string} key makes a repeated request the same one for the server
 * @property {File} file
 * @property {[string, string][]} fields
 * @property {Phase} phase
 * @property {number} share of the file that has left
 * @property {number} milliseconds from the first byte to the answer, once it is sent
 * @property {string} detail why it waits, or was refused
 * @property {number} until when the server has asked to wait; 0 if it has not
 * @property {number} attempts that got no answer
 * @property {boolean} mayRetry
 * @property {string} id of its detection, once it is sent
 * @property {AbortController} control
 */

const AT_ONCE = 3;
const MOST_ATTEMPTS = 8;
const BUSY = new Set([429, 503]);
const GONE = new Set([502, 504]);

/** @type {Item[]} */
const waiting = [];
let active = 0;
let heldUntil = 0;
/** @type {(item: Item) => void} */
let changed = () => {};
let mostMegabytes = Infinity;

/**
 * @param {number} megabytes the server takes in a file
 * @param {(item: Item) => void} onChange
 */
export function begin(megabytes, onChange) {
  mostMegabytes = megabytes;
  changed = onChange;
  onReachable((now) => now && pump());
  addEventListener("beforeunload", (event) => {
    if (active || waiting.length) event.preventDefault();
  });
}

/** Files are being sent: which detections are theirs is not known yet. */
export const isSending = () => active > 0;

/**
 * @param {File} file
 * @param {[string, string][]} fields
 * @returns {Item}
 */
export function add(file, fields) {
  const item = made(file, fields);
  item.detail = refusal(file);
  if (item.detail) item.phase = "refused";
  else waiting.push(item);
  queueMicrotask(pump);
  return item;
}

/** @param {Item} item */
export function cancel(item) {
  if (waiting.includes(item)) waiting.splice(waiting.indexOf(item), 1);
  item.phase = "cancelled";
  item.control.abort();
}

/** @param {Item} item */
export function retry(item) {
  Object.assign(item, { phase: "queued", detail: "", attempts: 0, control: new AbortController() });
  waiting.push(item);
  changed(item);
  pump();
}

/**
 * @param {File} file
 * @param {[string, string][]} fields
 * @returns {Item}
 */
function made(file, fields) {
  const control = new AbortController();
  return {
    key: newKey(), file, fields, control, phase: "queued", share: 0, detail: "", until: 0, attempts: 0,
    milliseconds: 0, mayRetry: false, id: "",
  };
}

/** @param {File} file */
function refusal(file) {
  const megabytes = Math.ceil((file.size * 10) / 2 ** 20) / 10;
  if (file.size === 0) return "The file is empty.";
  if (file.size <= mostMegabytes * 2 ** 20) return "";
  return `The file is ${megabytes} MB; at most ${mostMegabytes} MB are allowed.`;
}

function newKey() {
  // Not randomUUID, which browsers have on encrypted pages alone.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pump() {
  while (active < AT_ONCE && isReachable && Date.now() >= heldUntil) {
    const item = waiting.shift();
    if (!item) return;
    send(item);
  }
}

/** @param {Item} item */
async function send(item) {
  active += 1;
  Object.assign(item, { phase: "sending", share: 0, detail: "", until: 0 });
  changed(item);
  const started = performance.now();
  try {
    item.id = (await posted(item)).detection_id;
    item.milliseconds = performance.now() - started;
    item.phase = "sent";
  } catch (error) {
    await failed(item, error);
  }
  active -= 1;
  changed(item);
  pump();
}

/** @param {Item} item */
function posted(item) {
  const form = new FormData();
  for (const [name, value] of item.fields) form.append(name, value);
  form.append("image", item.file, item.file.name);
  return upload("detect/image", form, {
    headers: { "Idempotency-Key": item.key },
    signal: item.control.signal,
    onProgress: (share) => {
      item.share = share;
      changed(item);
    },
  });
}

/**
 * @param {Item} item
 * @param {unknown} error
 */
async function failed(item, error) {
  if (item.phase === "cancelled") return;
  const status = error instanceof ApiError ? error.status : 0;
  if (error instanceof ApiError && BUSY.has(status)) return hold(item, error);
  if (error instanceof Unreachable || GONE.has(status)) return again(item);
  item.phase = "refused";
  item.detail = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiError)) throw error;
}

/**
 * All files wait as long as the server asks.
 * @param {Item} item
 * @param {ApiError} error
 */
function hold(item, error) {
  const seconds = Math.max(1, error.wait);
  heldUntil = Math.max(heldUntil, Date.now() + seconds * 1000);
  back(item, error.message);
  item.until = heldUntil;
  setTimeout(pump, heldUntil - Date.now() + 10);
}

/** @param {Item} item */
async function again(item) {
  item.attempts += 1;
  if (!(await isReadable(item.file))) return refuse(item, "The file cannot be read any more: choose it again.");
  if (item.attempts >= MOST_ATTEMPTS) {
    item.mayRetry = true;
    return refuse(item, "It could not be sent: the connection broke each time.");
  }
  back(item, "");
  lost();
}

/**
 * @param {Item} item
 * @param {string} detail
 */
function refuse(item, detail) {
  Object.assign(item, { phase: "refused", detail });
}

/**
 * @param {Item} item
 * @param {string} detail
 */
function back(item, detail) {
  Object.assign(item, { phase: "queued", share: 0, detail });
  waiting.unshift(item);
}

/** @param {Blob} file */
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
