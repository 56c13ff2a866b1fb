// Short messages at the bottom of the page.

import { element, find } from "./dom.js";

const SECONDS = 6;

/**
 * @param {string} text
 * @param {{action?: string, onAction?: () => void, seconds?: number}} [options] a button, and what it does
 * @returns {() => void} takes the message away
 */
export function toast(text, options = {}) {
  const place = find("#toasts", HTMLElement);
  if (!options.action) for (const same of place.children) if (same.textContent === text) same.remove();
  const shown = element("div", { class: "toast" }, text);
  const remove = () => shown.remove();
  if (options.action) {
    const button = element("button", { type: "button", "data-answer": true }, options.action);
    button.addEventListener("click", () => {
      remove();
      options.onAction?.();
    });
    shown.append(button);
  }
  place.append(shown);
  setTimeout(remove, (options.seconds ?? SECONDS) * 1000);
  return remove;
}
