// What is done with a detection: renaming, publishing, running again, deleting.

import { ApiError, call } from "../api.js";
import "../dialogs.js";
import { find } from "../dom.js";
import { toast } from "../toasts.js";

const UNDO_SECONDS = 8;

/**
 * @param {() => string} detection its id
 * @param {() => Promise<void>} refresh
 */
export function bindActions(detection, refresh) {
  bindRename(detection, refresh);
  bindRerun(detection);
  bindDelete(detection);
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
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await act(async () => {
      await call("PATCH", `detect/${detection()}`, { name: input.value });
      end();
    }, refresh);
  });
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
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
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

/** @param {() => string} detection */
function bindDelete(detection) {
  const dialog = find("#delete-dialog", HTMLDialogElement);
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "delete") deleteSoon(detection());
    dialog.returnValue = "";
  });
}

/**
 * Deletes after some seconds, or when the page is left, unless it is undone.
 * @param {string} id
 */
function deleteSoon(id) {
  const content = find(".result", HTMLElement);
  content.inert = true;
  content.classList.add("deleted");
  const request = () => call("DELETE", `detect/${id}`, null, { keepalive: true });
  const leave = () => void request().catch(() => {}); // no page is left to tell
  const timer = setTimeout(async () => {
    removeEventListener("pagehide", leave);
    await act(request, async () => location.assign("/history"));
    content.inert = false;
    content.classList.remove("deleted");
  }, UNDO_SECONDS * 1000);
  addEventListener("pagehide", leave);
  toast("Deleted.", {
    action: "Undo",
    seconds: UNDO_SECONDS,
    onAction: () => {
      clearTimeout(timer);
      removeEventListener("pagehide", leave);
      content.inert = false;
      content.classList.remove("deleted");
    },
  });
}
