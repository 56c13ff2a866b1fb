// The dialog that shows requests of the page as code, and what they were answered.

import { ApiError, ask, call } from "./api.js";
import { copied } from "./clipboard.js";
import { element, find } from "./dom.js";
import { curl, javascript, python } from "./snippets.js";
import { keep, kept } from "./storage.js";

/**
 * A request that the page offers.
 * @typedef {import("./snippets.js").Asked & {title: string, answeredBy?: string, upload?: number, note?: string}} Offered
 *   `answeredBy`: the path of the answer's JSON, if not the request's own. `upload`: milliseconds that it took.
 *   `note`: what to say instead of an answer.
 */

const LANGUAGES = { curl, python, javascript };
const REMEMBERED = "code.language";
/** Characters of an answer that are shown. */
const MOST_SHOWN = 20_000;

const panel = find("#code-panel", HTMLDialogElement);
const select = find("#code-request", HTMLSelectElement, panel);
const tabs = [...panel.querySelectorAll('[role="tab"]')].filter((tab) => tab instanceof HTMLElement);
const note = find("#code-note", HTMLElement, panel);
const timings = find("#code-timings", HTMLElement, panel);
const whole = find("#code-answer", HTMLElement, panel);

/** @type {Offered[]} */
let offered = [];
let language = remembered();
/** Kept by this page alone. */
let key = "";
let answer = "";

/**
 * Opens the panel on these requests.
 * @param {Offered[]} requests
 */
export function showCode(requests) {
  offered = requests;
  select.replaceChildren(...requests.map(({ title }, index) => element("option", { value: index }, title)));
  find(".code-requests", HTMLElement, panel).hidden = requests.length < 2;
  show();
  panel.showModal();
}

function show() {
  showSnippet();
  void showAnswer(chosen());
}

function chosen() {
  return offered[select.selectedIndex];
}

function showSnippet() {
  for (const tab of tabs) {
    const isChosen = tab.dataset.language === language;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
  }
  find("#code-shown", HTMLElement, panel).setAttribute("aria-labelledby", `code-${language}`);
  find("#code-snippet", HTMLElement, panel).textContent = snippet();
}

function snippet() {
  const asked = chosen();
  return asked ? LANGUAGES[language](asked, panel.dataset.api ?? "", key) : "";
}

/** @param {Offered} [asked] */
async function showAnswer(asked) {
  if (!asked) return;
  const text = asked.note ?? (asked.savedAs ? `A file, which the code saves as ${asked.savedAs}.` : "");
  clearAnswer(text);
  if (text) return;
  const path = asked.answeredBy ?? asked.path;
  try {
    const given = await ask("GET", path);
    const content = await given.json();
    if (asked !== chosen()) return;
    const seconds = Number(given.headers.get("X-Process-Time"));
    timings.replaceChildren(...timesOf(content, seconds, asked.upload).map(timing));
    showJson(JSON.stringify(content, null, 2), `/api/v1/${path}`);
  } catch (error) {
    clearAnswer(/** @type {Error} */ (error).message);
  }
}

/** @param {string} text */
function clearAnswer(text) {
  answer = "";
  note.textContent = text;
  timings.replaceChildren();
  whole.hidden = true;
}

/**
 * @param {string} text
 * @param {string} path of the whole
 */
function showJson(text, path) {
  answer = text;
  const isCut = text.length > MOST_SHOWN;
  const link = element("a", { href: path, target: "_blank" }, "Open it whole");
  const parts = isCut ? [`The first ${sizeOf(MOST_SHOWN)} of ${sizeOf(text.length)}. `, link] : [];
  find("#code-json", HTMLElement, panel).textContent = isCut ? `${text.slice(0, MOST_SHOWN)}…` : text;
  find("#code-cut", HTMLElement, panel).replaceChildren(...parts);
  whole.hidden = false;
}

/** @param {number} length */
const sizeOf = (length) => `${Math.ceil(length / 1000)} kB`;

/**
 * What took how long, in milliseconds, as far as the answer tells it.
 * @param {any} content
 * @param {number} seconds of this answer
 * @param {number} [upload]
 * @returns {[string, number | null | undefined][]}
 */
function timesOf(content, seconds, upload) {
  const inference = content.images?.map((/** @type {any} */ image) => image.inference_ms).filter(Boolean) ?? [];
  return [
    ["Upload", upload],
    ["Waiting", between(content.created_at, content.started_at)],
    [inference.length > 1 ? `Inference of ${inference.length}` : "Inference", sum(inference)],
    ["Total", between(content.created_at, content.finished_at)],
    ["This answer", seconds * 1000],
  ];
}

/**
 * @param {string | null | undefined} start
 * @param {string | null | undefined} end
 */
function between(start, end) {
  return start && end ? Date.parse(end) - Date.parse(start) : null;
}

/** @param {number[]} times */
function sum(times) {
  return times.length ? times.reduce((total, time) => total + time, 0) : null;
}

/** @param {[string, number | null | undefined]} row */
function timing([name, time]) {
  if (time === null || time === undefined || Number.isNaN(time)) return "";
  const text = time < 1000 ? `${Math.round(time)} ms` : `${(time / 1000).toFixed(1)} s`;
  return element("div", {}, element("dt", {}, name), element("dd", {}, text));
}

async function makeKey() {
  const button = find("#code-make-key", HTMLButtonElement, panel);
  button.disabled = true;
  const name = `Code panel ${new Date().toISOString().slice(0, 10)}`;
  try {
    key = (await call("POST", "users/api-keys", { name, scopes: ["detect", "read"] })).key;
    tellKey(`The code has a new key, “${name}”, which is shown only now. You can revoke it in `);
    button.remove();
    showSnippet();
  } catch (error) {
    button.disabled = false;
    const isFull = error instanceof ApiError && error.status === 409;
    tellKey(`${/** @type {Error} */ (error).message} ${isFull ? "Revoke one in " : "Try again, or make one in "}`);
  }
}

/** @param {string} text before the link to the account */
function tellKey(text) {
  const link = element("a", { href: "/account" }, "Account");
  find("#code-key p", HTMLElement, panel).replaceChildren(text, link, ".");
}

/** @returns {keyof typeof LANGUAGES} */
function remembered() {
  const last = kept("localStorage", REMEMBERED);
  return last === "python" || last === "javascript" ? last : "curl";
}

/** @param {HTMLElement} tab */
function choose(tab) {
  language = /** @type {keyof typeof LANGUAGES} */ (tab.dataset.language);
  keep("localStorage", REMEMBERED, language);
  showSnippet();
}

/** @param {KeyboardEvent} event */
function step(event) {
  const steps = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!steps) return;
  const next = tabs.at((tabs.findIndex((tab) => tab.dataset.language === language) + steps) % tabs.length);
  if (!next) return;
  event.preventDefault();
  choose(next);
  next.focus();
}

/** @param {HTMLElement} button */
async function copy(button) {
  const isCopied = await copied(button.dataset.copies === "answer" ? answer : snippet());
  const text = isCopied ? "Copied" : "Select it"; // and copy it, since the browser forbids it
  tellCopied(button, text, text);
  setTimeout(() => tellCopied(button, "Copy", ""), 2000);
}

/**
 * @param {HTMLElement} button
 * @param {string} label
 * @param {string} told to screen readers
 */
function tellCopied(button, label, told) {
  find("span", HTMLElement, button).textContent = label;
  find("#code-told", HTMLElement, panel).textContent = told;
}

select.addEventListener("change", show);
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", step);
}
find("#code-make-key", HTMLButtonElement, panel).addEventListener("click", makeKey);
for (const button of panel.querySelectorAll("[data-copies]")) {
  if (button instanceof HTMLElement) button.addEventListener("click", () => copy(button));
}
