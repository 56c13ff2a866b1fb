// The last upload of this tab, as the code panel shows it.

import { keep, kept } from "../storage.js";
import { chosen } from "./options.js";

/**
 * @typedef {import("../code_panel.js").Offered} Offered
 * @typedef {{id: string, name: string, fields: [string, string][], upload: number}} Upload
 */

const key = `console.upload.${document.body.dataset.account}`;

/** @param {import("./queue.js").Item} item */
export function remember(item) {
  if (item.phase !== "sent") return;
  const { id, file, fields, milliseconds } = item;
  /** @type {Upload} */
  const upload = { id, name: file.name, fields, upload: milliseconds };
  keep("sessionStorage", key, upload);
}

/** @returns {Offered[]} */
export function requests() {
  /** @type {Upload | null} */
  const last = kept("sessionStorage", key);
  /** @type {Offered} */
  const asked = {
    title: "Upload",
    method: "POST",
    path: "detect/image",
    files: [["image", last?.name ?? "picture.jpg"]],
    fields: last?.fields ?? chosen(),
    waits: true,
  };
  const answer = last
    ? { answeredBy: `detect/${last.id}`, upload: last.upload }
    : { note: "Send a picture, and its answer is shown here." };
  return [{ ...asked, ...answer }];
}
