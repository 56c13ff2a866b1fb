// What is done only after some seconds, so that it can be undone.

import { toast } from "./toasts.js";

export const UNDO_SECONDS = 10;

/**
 * Does the deed in ten seconds, or as the page is left, unless it is undone.
 * @param {string} text said meanwhile
 * @param {() => void} deed its request is kept alive: the page may be on its way out
 * @param {() => void} onUndo
 */
export function doSoon(text, deed, onUndo) {
  const end = () => {
    clearTimeout(timer);
    removeEventListener("pagehide", begin);
    removeToast();
  };
  const begin = () => {
    end();
    deed();
  };
  const onAction = () => {
    end();
    onUndo();
  };
  const timer = setTimeout(begin, UNDO_SECONDS * 1000);
  addEventListener("pagehide", begin);
  const removeToast = toast(text, { action: "Undo", seconds: UNDO_SECONDS, onAction });
}

/** Presses the button of the latest message, which undoes what it tells of. Whether there was one. */
export function undo() {
  const latest = [...document.querySelectorAll(/** @type {"button"} */ (".toast [data-answer]"))].at(-1);
  latest?.click();
  return latest !== undefined;
}
