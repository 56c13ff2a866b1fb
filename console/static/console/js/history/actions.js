// What is done with the selected detections.

import { ApiError, call, csrfToken, logInAgain } from "../api.js";
import { find } from "../dom.js";
import { toast } from "../toasts.js";
import { chooseExport } from "./exports.js";
import { card, counted, filters, take, takeAll, total } from "./list.js";
import { notice } from "./notices.js";
import { redraw } from "./redrawing.js";
import { clear, selection } from "./selection.js";

const UNDO_SECONDS = 10;
const AT_ONCE = 1000; // ids of one request
const BULK = "detect/bulk";

/** @typedef {"delete" | "publish" | "withdraw" | "reprocess"} Action */

const WORDS = {
  delete: { does: "Delete", doing: "Deleting", done: "deleted", warning: "Their pictures and results go with them. This cannot be undone." },
  publish: { does: "Publish", doing: "Publishing", done: "published", warning: "All who have the links can see them." },
  withdraw: { does: "Withdraw", doing: "Withdrawing", done: "made private", warning: "" },
  reprocess: { does: "Reprocess", doing: "Queueing", done: "queued again", warning: "They run again behind your uploads; results stay until there are new ones." },
};

/** @param {string} action of a button */
export function runAction(action) {
  const { ids, isAll } = selection();
  if (action === "cancel") clear();
  else if (action === "export") chooseExport(ids, isAll);
  else if (isAll || ids.length > AT_ONCE) changeMany(/** @type {Action} */ (action), ids, isAll);
  else if (action === "delete") deleteSoon(ids);
  else change(/** @type {Action} */ (action), ids);
}

/**
 * @param {Action} action
 * @param {string[]} ids
 */
async function change(action, ids) {
  const wasPrivate = ids.filter((id) => !card(id)?.hasAttribute("data-public"));
  clear();
  try {
    const { count } = await call("POST", BULK, { action, detection_ids: ids });
    const isUndone = action === "publish" && wasPrivate.length > 0;
    const undo = { action: "Undo", seconds: UNDO_SECONDS, onAction: () => change("withdraw", wasPrivate) };
    toast(`${counted(count)} ${WORDS[action].done}.`, isUndone ? undo : {});
    redraw(ids);
  } catch (error) {
    toast(`${WORDS[action].does}: ${/** @type {Error} */ (error).message}`);
  }
}

/** Deletes that are not sent yet. @type {Set<() => void>} */
const waiting = new Set();

/** Hidden at once, deleted in ten seconds or when the page is left. @param {string[]} ids */
function deleteSoon(ids) {
  clear();
  const putBack = take(ids);
  const begin = () => {
    clearTimeout(timer);
    waiting.delete(begin);
    removeToast();
    sendDelete(ids, putBack);
  };
  const timer = setTimeout(begin, UNDO_SECONDS * 1000);
  waiting.add(begin);
  const onAction = () => {
    clearTimeout(timer);
    waiting.delete(begin);
    putBack();
  };
  const removeToast = toast(`${counted(ids.length)} deleted.`, { action: "Undo", seconds: UNDO_SECONDS, onAction });
}

/**
 * @param {string[]} ids
 * @param {() => void} putBack
 */
async function sendDelete(ids, putBack) {
  const body = JSON.stringify({ action: "delete", detection_ids: ids });
  const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken };
  try {
    // Kept alive: the page may be on its way out.
    const answer = await fetch(`/api/v1/${BULK}`, { method: "POST", headers, body, keepalive: true });
    if (answer.ok) return;
    if (answer.status === 401) logInAgain();
    putBack();
    toast("The detections could not be deleted. Try again in a minute.");
  } catch {
    putBack();
    toast("The server cannot be reached; nothing was deleted.");
  }
}

addEventListener("pagehide", () => {
  for (const begin of [...waiting]) begin();
});

/**
 * @param {Action} action
 * @param {string[]} ids
 * @param {boolean} isAll
 */
async function changeMany(action, ids, isAll) {
  const number = isAll ? total() : ids.length;
  if (!(await confirmed(action, number))) return;
  clear();
  const shown = notice(`${WORDS[action].doing} …`);
  try {
    let done = 0;
    for await (const chunk of isAll ? matchingIds() : chunksOf(ids)) {
      done += await changeChunk(action, chunk);
      shown.say(`${WORDS[action].doing} … ${done.toLocaleString("en")} of ${number.toLocaleString("en")}`);
    }
    shown.end(`${counted(done)} ${WORDS[action].done}.`);
    if (action !== "delete") redraw(ids);
    else if (isAll) takeAll();
    else take(ids);
  } catch (error) {
    shown.end(`${WORDS[action].does} stopped: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * @param {Action} action
 * @param {number} number
 */
function confirmed(action, number) {
  const dialog = find("#many-dialog", HTMLDialogElement);
  find("#many-title", HTMLElement).textContent = `${WORDS[action].does} ${counted(number)}?`;
  find("#many-text", HTMLElement).textContent = WORDS[action].warning;
  find("#many-yes", HTMLElement).textContent = WORDS[action].does;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** @param {string[]} ids */
function* chunksOf(ids) {
  for (let start = 0; start < ids.length; start += AT_ONCE) yield ids.slice(start, start + AT_ONCE);
}

/** Of all that fulfil the filters, newest first: what comes meanwhile is none of them. */
async function* matchingIds() {
  let before = "";
  while (true) {
    const answer = await fetch(`/history/ids?${new URLSearchParams({ ...filters, before })}`, { headers: { "HX-Request": "true" } });
    if (answer.status === 204) return logInAgain();
    if (!answer.ok) throw new Error("The detections cannot be listed.");
    /** @type {{ids: string[]}} */
    const { ids } = await answer.json();
    if (ids.length) yield ids;
    if (ids.length < AT_ONCE) return;
    before = ids.at(-1) ?? "";
  }
}

/**
 * How many were changed. Waits while too much is unfinished.
 * @param {Action} action
 * @param {string[]} ids
 * @returns {Promise<number>}
 */
async function changeChunk(action, ids) {
  while (true) {
    try {
      return (await call("POST", BULK, { action, detection_ids: ids })).count;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 429) throw error;
      await new Promise((resolve) => setTimeout(resolve, (error.wait || 1) * 1000));
    }
  }
}
