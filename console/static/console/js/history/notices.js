// Messages that stay until what they tell of has ended.

import { element, find, icon } from "../dom.js";

/** @param {string} text */
export function notice(text) {
  const said = element("span", {}, text);
  const close = element("button", { type: "button", class: "square quiet", "aria-label": "Close" }, icon("close"));
  const shown = element("div", { class: "toast" }, said);
  close.addEventListener("click", () => shown.remove());
  find("#toasts", HTMLElement).append(shown);
  return {
    /** @param {string} now */
    say: (now) => (said.textContent = now),
    /**
     * @param {string} now
     * @param {...Node} more
     */
    end: (now, ...more) => {
      said.textContent = now;
      shown.append(...more, close);
    },
    onClose: (/** @type {() => void} */ act) => close.addEventListener("click", act),
  };
}
