// The dialog with the links to a result, and its public page.

import { call } from "../api.js";
import { onSubmit } from "../busy.js";
import { copied } from "../clipboard.js";
import { element, find, icon } from "../dom.js";
import { told } from "../times.js";
import { toast } from "../toasts.js";

/** @typedef {{id: string, expires_at: string, created_at: string, use_count: number}} Link */

const dialog = find("#share-dialog", HTMLDialogElement);
const list = find("#links", HTMLUListElement);
const fault = find(".fault", HTMLElement, dialog);
const made = find("#new-link", HTMLElement);
const field = find("#link", HTMLInputElement);

let detection = "";

/** @param {string} id */
export async function openShare(id) {
  detection = id;
  made.hidden = true;
  list.replaceChildren();
  dialog.showModal();
  await attempt(showLinks);
}

/** @param {() => Promise<void>} deed */
async function attempt(deed) {
  fault.hidden = true;
  try {
    await deed();
  } catch (error) {
    fault.textContent = /** @type {Error} */ (error).message;
    fault.hidden = false;
  }
}

async function showLinks() {
  /** @type {{items: Link[]}} */
  const { items } = await call("GET", `detect/${detection}/shares?limit=50`);
  list.replaceChildren(...items.map(rowOf));
}

/** @param {Link} link */
function rowOf(link) {
  const uses = link.use_count === 1 ? "opened once" : link.use_count ? `opened ${link.use_count} times` : "not opened yet";
  const until = element("span", {}, `Until ${told(new Date(link.expires_at))}`, element("span", { class: "muted small" }, uses));
  const revoke = element("button", { type: "button", class: "danger" }, "Revoke");
  revoke.addEventListener("click", () =>
    attempt(async () => {
      await call("DELETE", `detect/${detection}/shares/${link.id}`);
      made.hidden = true;
      await showLinks();
      toast("The link shows nothing from now on.");
    }),
  );
  return element("li", {}, icon("link"), until, revoke);
}

async function makeLink() {
  const seconds = Number(find("#expiry", HTMLSelectElement).value);
  const { url } = await call("POST", `detect/${detection}/shares`, { expires_in: seconds });
  field.value = url;
  find("span", HTMLElement, made).textContent = "Copy";
  made.hidden = false;
  field.select();
  await showLinks();
}

async function copy() {
  const isCopied = await copied(field.value);
  field.select();
  find("span", HTMLElement, made).textContent = isCopied ? "Copied" : "Press Ctrl+C";
}

onSubmit(find("#share-form", HTMLFormElement), () => attempt(makeLink));
find('[data-action="copy"]', HTMLButtonElement, dialog).addEventListener("click", copy);
dialog.addEventListener("close", () => (field.value = ""));
