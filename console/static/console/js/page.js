// What every page does: htmx sends the CSRF token; a log-out in one tab ends the others.

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

const account = document.body.dataset.account;
const sessions = new BroadcastChannel("console.sessions");
if (account) {
  beginService();
  onMessage(() => {}); // the socket tells an ended log-in
  sessions.onmessage = logInAgain;
  document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => sessions.postMessage("out"));
}
