// The parts of the page that the server renders: they are taken from a new answer where they differ.

import { logInAgain, Unreachable } from "../api.js";
import { find } from "../dom.js";

/**
 * @typedef {{detection_id: string, image_id: string, width: number | null, height: number | null,
 *   has_file: boolean, processed: boolean, is_finished: boolean, more: number,
 *   boxes: import("./boxes.js").Box[], colours: {fill: string, ink: string}[]}} State
 */

/** As the server rendered them: scripts may have changed the elements since. */
/** @type {Map<string, string>} */
const rendered = new Map();
for (const part of document.querySelectorAll("[data-part]")) rendered.set(nameOf(part), part.outerHTML);
let text = find("#state", HTMLScriptElement).text;

export class Gone extends Error {}

/** @returns {State} */
export function readState() {
  return JSON.parse(text);
}

/** Takes over what is new at the page's address. Whether the state has changed. Throws Unreachable, and Gone. */
export async function takeParts() {
  const url = location.href;
  const page = await fetchPage(url);
  if (!page || url !== location.href) return false; // a later request is for what the address names by now
  document.title = page.title;
  for (const part of page.querySelectorAll("[data-part]")) take(part);
  const before = text;
  text = find("#state", HTMLScriptElement, page).text;
  return text !== before;
}

/** @param {string} url */
async function fetchPage(url) {
  let answer;
  try {
    // After Back, browsers answer from their cache by themselves.
    answer = await fetch(url, { headers: { Accept: "text/html" }, cache: "no-cache" });
  } catch {
    throw new Unreachable();
  }
  if (answer.status === 404) throw new Gone();
  if (!answer.ok) throw new Unreachable();
  if (new URL(answer.url).pathname === "/login") return logInAgain();
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** @param {Element} part of the new page */
function take(part) {
  const name = nameOf(part);
  if (rendered.get(name) === part.outerHTML) return;
  rendered.set(name, part.outerHTML);
  const shown = find(`[data-part="${name}"]`, HTMLElement);
  const focused = shown.contains(document.activeElement) ? placeOf(document.activeElement) : null;
  const taken = document.importNode(part, true);
  shown.replaceWith(taken);
  if (focused) /** @type {HTMLElement | null} */ (taken.querySelector(focused))?.focus();
}

/** @param {Element} part */
function nameOf(part) {
  return part.getAttribute("data-part") ?? "";
}

/** @param {Element | null} focused */
function placeOf(focused) {
  const [name, value] = ["data-action", "rel", "popovertarget"].map((name) => [name, focused?.getAttribute(name)]).find(([, value]) => value) ?? [];
  return name ? `[${name}="${value}"]` : null;
}
