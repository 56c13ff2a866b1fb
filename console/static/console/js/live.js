// One WebSocket of a page: live messages only say that stored state has changed.

import { logInAgain } from "./api.js";

/**
 * @typedef {{id: string, type: string, detection_id?: string, at: string, processed?: number, total?: number,
 *   failed?: number, percent?: number}} Message
 */

const INVALID = 4401;
const TOO_MANY = 4429;
const LONGEST_WAIT = 30_000;

/** @type {Set<(message: Message) => void>} */
const listeners = new Set();
/** @type {Set<(isOpen: boolean) => void>} */
const watchers = new Set();

let wait = 1000;
/** @type {WebSocket | null} */
let socket = null;
/** The time of the last message, from which a new socket goes on. */
let since = "";

export let isOpen = false;

/**
 * @param {(message: Message) => void} listener
 * @returns {() => void} ends it
 */
export function onMessage(listener) {
  listeners.add(listener);
  connect();
  return () => listeners.delete(listener);
}

/**
 * Told whenever the socket opens or closes: while it is closed, pages ask for the state themselves.
 * @param {(isOpen: boolean) => void} watcher
 */
export function onConnection(watcher) {
  watchers.add(watcher);
}

export function connect() {
  if (socket && socket.readyState <= WebSocket.OPEN) return;
  const query = since ? `?since=${encodeURIComponent(since)}` : "";
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/${query}`);
  socket.onopen = () => change(true);
  socket.onmessage = (event) => tell(JSON.parse(event.data));
  socket.onclose = (event) => closed(event.code);
}

/** Before a request that ends this log-in on purpose: the page goes on by itself. `connect` undoes it. */
export function disconnect() {
  if (socket) socket.onclose = null;
  socket?.close();
  socket = null;
}

/** @param {Message} message */
function tell(message) {
  since = message.at;
  for (const listener of listeners) listener(message);
}

/** @param {number} code */
function closed(code) {
  change(false);
  if (code === INVALID) return logInAgain();
  wait = code === TOO_MANY ? LONGEST_WAIT : Math.min(wait * 2, LONGEST_WAIT);
  setTimeout(connect, wait * (0.5 + Math.random() / 2));
}

/** @param {boolean} now */
function change(now) {
  if (now) wait = 1000;
  isOpen = now;
  for (const watcher of watchers) watcher(now);
}

// A page that Back brings out of the browser's memory may belong to an ended log-in.
addEventListener("pageshow", (event) => {
  if (event.persisted && listeners.size) connect();
});
addEventListener("pagehide", () => socket?.close());
