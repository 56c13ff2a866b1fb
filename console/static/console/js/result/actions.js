// What is done with a detection: renaming, publishing, running again, deleting.

import { ApiError, call } from "../api.js";
import { onSubmit } from "../busy.js";
import { confirmed } from "../dialogs.js";
import { find } from "../dom.js";
import { toast } from "../toasts.js";
import { doSoon } from "../undo.js";

/**
 * @param {() => string} detection its id
 * @param {() => Promise<void>} refresh
 */
export function bindActions(detection, refresh) {
  bindRename(detection, refresh);
  bindRerun(detection);
}

/**
 * @param {() => Promise<unknown>} deed
 * @param {() => Promise<void>} refresh
 */
export async function act(deed, refresh) {
  try {
    await deed();
    await refresh();
  } catch (error) {
    toast(/** @type {Error} */ (error).message);
    if (error instanceof ApiError && error.status === 404) await refresh(); // it was deleted elsewhere
  }
}

/**
 * @param {() => string} detection
 * @param {() => Promise<void>} refresh
 */
function bindRename(detection, refresh) {
  const form = find(".result-rename", HTMLFormElement);
  const input = find("input", HTMLInputElement, form);
  const end = () => {
    form.hidden = true;
    find(".result-name", HTMLElement).hidden = false;
    find('[data-action="rename"]', HTMLElement).focus();
  };
  const rename = async () => {
    await call("PATCH", `detect/${detection()}`, { name: input.value });
    end();
  };
  onSubmit(form, () => act(rename, refresh));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") end();
  });
}

export function beginRename() {
  const form = find(".result-rename", HTMLFormElement);
  const input = find("input", HTMLInputElement, form);
  const name = find(".result-name", HTMLElement);
  input.value = find("h1", HTMLElement, name).textContent ?? "";
  name.hidden = true;
  form.hidden = false;
  input.select();
}

/** @param {() => string} detection */
function bindRerun(detection) {
  const dialog = find("#rerun-dialog", HTMLDialogElement);
  const form = find("form", HTMLFormElement, dialog);
  const fault = find(".fault", HTMLElement, dialog);
  onSubmit(form, async () => {
    fault.hidden = true;
    const { detector, confidence } = Object.fromEntries(new FormData(form));
    try {
      const made = await call("POST", `detect/${detection()}/rerun`, { detector, confidence: Number(confidence) });
      location.assign(`/results/${made.detection_id ?? made.id}`);
    } catch (error) {
      fault.textContent = /** @type {Error} */ (error).message;
      fault.hidden = false;
    }
  });
}

/**
 * Asks, and deletes after some seconds, unless it is undone.
 * @param {string} id
 */
export async function deleteSoon(id) {
  if (!(await confirmed("Delete this result?", "Delete", { warning: "Its pictures, boxes and links go with it." }))) return;
  const content = find(".result", HTMLElement);
  const show = (/** @type {boolean} */ isShown) => {
    content.inert = !isShown;
    content.classList.toggle("deleted", !isShown);
  };
  const remove = async () => {
    await act(() => call("DELETE", `detect/${id}`, null, { keepalive: true }), async () => location.assign("/history"));
    show(true);
  };
  show(false);
  const undo = () => {
    show(true);
    find('[popovertarget="more-menu"]', HTMLButtonElement).focus();
  };
  doSoon("Deleted.", remove, undo);
}
