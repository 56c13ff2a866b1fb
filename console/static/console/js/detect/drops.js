// The files of a drop, also those of folders.

import { toast } from "../toasts.js";

const PICTURE = /^[^.].*\.(jpe?g|jfif|png|webp|hei[cf]|avif|tiff?|gif|bmp)$/i;

/** @param {DragEvent} event */
export const hasFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));

/**
 * Files of the drop as they are, of its folders pictures alone: what else lies there, nobody meant to send.
 * @param {DataTransfer} dropped may be read within its event alone
 * @param {(files: File[]) => void} send
 */
export async function takeFiles(dropped, send) {
  const items = [...dropped.items].filter((item) => item.kind === "file");
  const folders = items.map((item) => item.webkitGetAsEntry()).filter(isFolder);
  send(items.filter((item) => !isFolder(item.webkitGetAsEntry())).flatMap((item) => item.getAsFile() ?? []));
  if (!folders.length) return;
  try {
    const found = (await Promise.all(folders.map(filesWithin))).flat();
    const pictures = found.filter(({ name }) => PICTURE.test(name));
    if (!pictures.length) toast("There are no pictures in the folder.");
    send(await Promise.all(pictures.map(fileOf)));
  } catch {
    toast("The folder cannot be read.");
  }
}

/**
 * @param {FileSystemEntry | null} entry
 * @returns {entry is FileSystemDirectoryEntry}
 */
const isFolder = (entry) => entry?.isDirectory === true;

/**
 * In the order of their names, folders within it too.
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<FileSystemFileEntry[]>}
 */
async function filesWithin(folder) {
  const reader = folder.createReader();
  const entries = [];
  // A reader gives a hundred at a time, and none at the end.
  for (let some = await next(reader); some.length; some = await next(reader)) entries.push(...some);
  entries.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  const files = entries.map((entry) => (isFolder(entry) ? filesWithin(entry) : /** @type {FileSystemFileEntry} */ (entry)));
  return (await Promise.all(files)).flat();
}

/**
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
const next = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject));

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));
