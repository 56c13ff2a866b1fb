// Whether the server answers. While it does not, a banner says so and it is asked again and again.

import { connect, onConnection } from "./live.js";

const LONGEST_WAIT = 15_000;

/** @type {Set<(isReachable: boolean) => void>} */
const watchers = new Set();
let wait = 0;
let timer = 0;

export let isReachable = true;

/**
 * Told when the server stops answering, and when it answers again.
 * @param {(isReachable: boolean) => void} watcher
 */
export function onReachable(watcher) {
  watchers.add(watcher);
}

/** A request got no answer. */
export function lost() {
  if (!isReachable) return;
  change(false);
  wait = 500;
  retryLater();
}

/** Asks whether the server answers. */
async function probe() {
  clearTimeout(timer);
  if (await answers()) return found();
  if (isReachable) return lost();
  retryLater();
}

async function answers() {
  try {
    return (await fetch("/health", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

function found() {
  if (isReachable) return;
  change(true);
  connect();
}

function retryLater() {
  wait = Math.min(wait * 2, LONGEST_WAIT);
  clearTimeout(timer);
  timer = setTimeout(probe, wait);
}

/** @param {boolean} now */
function change(now) {
  isReachable = now;
  const banner = document.querySelector("#offline");
  if (banner instanceof HTMLElement) banner.hidden = now;
  for (const watcher of watchers) watcher(now);
}

addEventListener("online", probe);
addEventListener("offline", lost);
onConnection((isOpen) => {
  if (isOpen) found();
  else probe();
});
