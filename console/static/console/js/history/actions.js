// What is done with the selected detections.

import { ApiError, call, logInAgain } from "../api.js";
import { confirmed } from "../dialogs.js";
import { pause } from "../pause.js";
import { toast } from "../toasts.js";
import { doSoon, UNDO_SECONDS } from "../undo.js";
import { chooseExport } from "./exports.js";
import { card, cards, counted, filters, idOf, take, takeAll, total } from "./list.js";
import { notice } from "./notices.js";
import { redraw } from "./redrawing.js";
import { clear, selection } from "./selection.js";

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
  if (action === "clear") clear();
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
  } catch (error) {
    toast(`${WORDS[action].does}: ${/** @type {Error} */ (error).message}`);
  }
  redraw(ids); // also after an error: the answer may have been lost, not the deed
}

/** Hidden at once. @param {string[]} ids */
function deleteSoon(ids) {
  clear();
  const putBack = take(ids);
  const undo = () => {
    putBack();
    card(ids[0] ?? "")?.querySelector("input")?.focus();
  };
  doSoon(`${counted(ids.length)} deleted.`, () => sendDelete(ids, putBack), undo);
}

/**
 * @param {string[]} ids
 * @param {() => void} putBack
 */
async function sendDelete(ids, putBack) {
  try {
    await call("POST", BULK, { action: "delete", detection_ids: ids }, { keepalive: true });
  } catch (error) {
    putBack();
    redraw(ids); // those that are gone all the same
    toast(`Delete: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * @param {Action} action
 * @param {string[]} ids
 * @param {boolean} isAll
 */
async function changeMany(action, ids, isAll) {
  const number = isAll ? total() : ids.length;
  const { does, warning } = WORDS[action];
  const isDangerous = action === "delete";
  if (!(await confirmed(`${does} ${counted(number)}?`, does, { warning, isDangerous }))) return;
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
    redraw(isAll ? cards().map(idOf) : ids);
  }
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
      await pause((error.wait || 1) * 1000);
    }
  }
}
