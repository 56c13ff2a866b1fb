// The button "Code" of a page. What it opens is fetched when it is asked for.

import { find } from "./dom.js";
import { toast } from "./toasts.js";

/**
 * @param {() => import("./code_panel.js").Offered[]} requests that the page has made, or would make, by now
 */
export function offerCode(requests) {
  find("[data-code]", HTMLButtonElement).addEventListener("click", () => openCode(requests()));
}

/** @param {import("./code_panel.js").Offered[]} requests */
export async function openCode(requests) {
  const panel = await import("./code_panel.js").catch(() => null);
  if (panel) panel.showCode(requests);
  else toast("The server cannot be reached.");
}
