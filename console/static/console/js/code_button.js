// The button "Code" of a page. What it opens is fetched when it is asked for.

import { find } from "./dom.js";

/**
 * @param {() => import("./code_panel.js").Offered[]} requests that the page has made, or would make, by now
 */
export function offerCode(requests) {
  find("[data-code]", HTMLButtonElement).addEventListener("click", async () => {
    const { showCode } = await import("./code_panel.js");
    showCode(requests());
  });
}
