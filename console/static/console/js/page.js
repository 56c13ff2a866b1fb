// What every page does: htmx sends the CSRF token, and the page ends with its log-in.

import { csrfToken, logInAgain } from "./api.js";
import { onMessage } from "./live.js";
import { begin as beginService } from "./service.js";
import "./shortcuts.js";
import { keep, kept } from "./storage.js";
import { toast } from "./toasts.js";

document.addEventListener("htmx:config:request", (event) => {
  const { request } = /** @type {CustomEvent} */ (event).detail.ctx;
  request.headers["X-CSRFToken"] = csrfToken;
});
document.addEventListener("htmx:error", () => toast("The server cannot be reached."));
document.addEventListener("htmx:before:swap", (event) => {
  const { response } = /** @type {CustomEvent} */ (event).detail.ctx;
  if (!(response?.status >= 400)) return;
  event.preventDefault(); // an error is a page of its own, and no part of this one
  if (response.status === 404) location.reload(); // what the page shows is gone
  else toast("The server cannot answer now. Try again in a minute.");
});

// A form, and a button under a held key, act once.
const SENT_AGAIN = 10_000; // milliseconds, after which the first answer is not waited for any more
/** @type {WeakMap<EventTarget, number>} */
let sent = new WeakMap();
document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.method !== "post" || form.dataset.call !== undefined) return; // that one is sent by a script
  if (Date.now() - (sent.get(form) ?? 0) < SENT_AGAIN) return event.preventDefault();
  sent.set(form, Date.now());
});
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter" && !(event.target instanceof HTMLTextAreaElement)) event.preventDefault();
}, true);
addEventListener("pageshow", () => (sent = new WeakMap()));

// Which account the browser's last page was of: a log-out in one tab ends the others, and Back shows no page of before.
const account = document.body.dataset.account ?? "";
const KEY = "console.account";

keep("localStorage", KEY, account);
if (account) {
  beginService();
  onMessage(() => {}); // the socket tells of a log-in that ended elsewhere
  addEventListener("storage", (event) => event.key === KEY && event.newValue !== JSON.stringify(account) && logInAgain());
  addEventListener("pagehide", () => show(false));
  addEventListener("pageshow", async (event) => {
    if (event.persisted && (await hasEnded())) logInAgain();
    else show(true);
  });
}

/** Whether the page's log-in is over: in this browser, or by the server, if that answers soon. */
async function hasEnded() {
  if (kept("localStorage", KEY) !== account) return true;
  const answer = await fetch("/console/service", { signal: AbortSignal.timeout(3000) }).catch(() => null);
  return answer?.status === 401;
}

/** @param {boolean} isShown */
function show(isShown) {
  document.body.style.visibility = isShown ? "" : "hidden";
}
