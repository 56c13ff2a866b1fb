// What every page does: htmx sends the CSRF token, and the page ends with its log-in.

import { csrfToken, logInAgain } from "./api.js";
import { onMessage } from "./live.js";
import { begin as beginService } from "./service.js";
import "./shortcuts.js";
import { toast } from "./toasts.js";

document.addEventListener("htmx:config:request", (event) => {
  const { request } = /** @type {CustomEvent} */ (event).detail.ctx;
  request.headers["X-CSRFToken"] = csrfToken;
});
document.addEventListener("htmx:error", () => toast("The server cannot be reached."));

// Which account the browser's last page was of: a log-out in one tab ends the others, and Back shows no page of before.
const account = document.body.dataset.account ?? "";
const KEY = "console.account";

if (navigator.cookieEnabled) localStorage.setItem(KEY, account);
if (account) {
  beginService();
  onMessage(() => {}); // the socket tells of a log-in that ended elsewhere
  addEventListener("storage", (event) => event.key === KEY && event.newValue !== account && logInAgain());
  addEventListener("pagehide", () => show(false));
  addEventListener("pageshow", (event) => {
    if (event.persisted && localStorage.getItem(KEY) !== account) logInAgain();
    else show(true);
  });
}

/** @param {boolean} isShown */
function show(isShown) {
  document.body.style.visibility = isShown ? "" : "hidden";
}
