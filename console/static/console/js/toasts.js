// Short messages at the bottom of the page.

import { element, find } from "./dom.js";

const SECONDS = 6;

/**
 * @param {string} text
 * @param {{action?: string, onAction?: () => void, seconds?: number}} [options] a button, and what it does
 * @returns {() => void} takes the message away
 */
export function toast(text, options = {}) {
  const shown = element("div", { class: "toast" }, text);
  const remove = () => shown.remove();
  if (options.action) {
    const button = element("button", { type: "button" }, options.action);
    button.addEventListener("click", () => {
      remove();
      options.onAction?.();
    });
    shown.append(button);
  }
  find("#toasts", HTMLElement).append(shown);
  setTimeout(remove, (options.seconds ?? SECONDS) * 1000);
  return remove;
}
