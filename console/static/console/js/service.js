// What the service does for the user: a dot in the bar, on the page for uploads also a line.

import { read } from "./api.js";
import { element, icon } from "./dom.js";

/**
 * @typedef {{waiting: number, position: number, per_minute: number, problems: string[]}} Service
 */

const EVERY = 10_000;
const SOON = 500;

/**
 * @param {Service} service
 * @returns {{level: "ok" | "busy" | "warn", lines: string[]}}
 */
export function described(service) {
  const lines = [...service.problems];
  if (service.waiting) {
    const place = service.position ? `; the next is number ${service.position} in the queue` : "";
    lines.push(`${service.waiting === 1 ? "1 picture waits" : `${service.waiting} pictures wait`}${place}.`);
  }
  if (!lines.length) lines.push("Ready.");
  if (service.per_minute) lines.push(`${service.per_minute} ${service.per_minute === 1 ? "picture" : "pictures"} a minute.`);
  const level = service.problems.length ? "warn" : service.waiting ? "busy" : "ok";
  return { level, lines };
}

/** @param {Service} service */
export function show(service) {
  const { level, lines } = described(service);
  for (const place of document.querySelectorAll("[data-service]")) {
    place.setAttribute("data-service", level);
  }
  for (const list of document.querySelectorAll("[data-service-lines]")) {
    if (list.textContent === lines.join("")) continue; // else it would be read out again
    list.replaceChildren(...lines.map((line) => element("p", {}, line)));
  }
  for (const place of document.querySelectorAll(".service-icon")) {
    place.replaceChildren(...(level === "warn" ? [icon("warning")] : []));
  }
}

let isDue = false;

/** After a change: several changes ask once. */
export function refreshSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(refresh, SOON);
}

async function refresh() {
  isDue = false;
  try {
    show(await read("/console/service"));
  } catch {
    // The page tells elsewhere that the server does not answer.
  }
}

/** Shows what the page came with, else what the server says; then asks again while the page is seen. */
export function begin() {
  const known = document.querySelector("#service-data")?.textContent;
  if (known) show(JSON.parse(known));
  else refresh();
  setInterval(() => document.visibilityState === "visible" && refresh(), EVERY);
}
