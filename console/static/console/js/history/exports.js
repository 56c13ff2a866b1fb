// Files of many detections: chosen, waited for, and offered until they are closed.

import { ApiError, call } from "../api.js";
import { element, find } from "../dom.js";
import { pause } from "../pause.js";
import * as storage from "../storage.js";
import { toast } from "../toasts.js";
import { filters } from "./list.js";
import { notice } from "./notices.js";
import { clear } from "./selection.js";

const MOST = 1000;
const ASKED_EVERY = 1000;
const KEPT = `exports-${document.body.dataset.account}`; // of this tab

/** @returns {string[]} */
const kept = () => storage.kept("sessionStorage", KEPT) ?? [];

/** @param {string[]} ids */
const keep = (ids) => storage.keep("sessionStorage", KEPT, ids);

const dialog = find("#export-dialog", HTMLDialogElement);
const form = find("form", HTMLFormElement, dialog);
const format = find("select", HTMLSelectElement, dialog);
const images = find("[name=images]", HTMLInputElement, dialog);

/** Some formats hold no pictures. */
function fitOptions() {
  images.disabled = !format.selectedOptions[0]?.hasAttribute("data-pictures");
  if (images.disabled) images.checked = false;
}
format.addEventListener("change", fitOptions);

/**
 * @param {string[]} ids
 * @param {boolean} isAll all that fulfil the filters
 */
export function chooseExport(ids, isAll) {
  if (!isAll && ids.length > MOST) return void toast("An export has up to 1,000 chosen detections, or all that match.");
  fitOptions();
  dialog.returnValue = "";
  dialog.showModal();
  const close = () => dialog.returnValue === "export" && submit(isAll ? conditions() : { detection_ids: ids });
  dialog.addEventListener("close", close, { once: true });
}

function conditions() {
  const { min_confidence: share, ...others } = filters;
  return share === undefined ? others : { ...others, min_confidence: Number(share) };
}

/** @param {object} which */
async function submit(which) {
  clear();
  const reviewed = new FormData(form).has("reviewed");
  try {
    const made = await call("POST", "detect/exports", { format: format.value, reviewed, images: images.checked, ...which });
    keep([...kept(), made.id]);
    follow(made.id);
  } catch (error) {
    toast(`Export: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {string} id */
async function follow(id) {
  const shown = notice("Export …");
  const forget = () => keep(kept().filter((other) => other !== id));
  shown.onClose(forget);
  try {
    let made = await stateOf(id);
    while (["pending", "processing"].includes(made.status)) {
      const { processed, total } = made;
      shown.say(total ? `Export: ${processed.toLocaleString("en")} of ${total.toLocaleString("en")} pictures` : "Export …");
      await pause(ASKED_EVERY);
      made = await stateOf(id);
    }
    if (made.download_url) shown.end("The export is ready.", element("a", { href: made.download_url, download: true }, "Download"));
    else shown.end(made.error || "The export has expired.");
  } catch (error) {
    forget();
    shown.end(`Export: ${/** @type {Error} */ (error).message}`);
  }
}

/** The export goes on while the server cannot be reached. @param {string} id @returns {Promise<any>} */
async function stateOf(id) {
  while (true) {
    try {
      return await call("GET", `detect/exports/${id}`);
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) throw error; // such as 404
      await pause(ASKED_EVERY);
    }
  }
}

/** Exports that this tab has begun before the page was left. */
export function resumeExports() {
  for (const id of kept()) follow(id);
}
