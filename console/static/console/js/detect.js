// The page for uploads: pictures are dropped, pasted, chosen or taken, and sent at once.

import { during } from "./busy.js";
import { offerCode } from "./code_button.js";
import { find } from "./dom.js";
import { addShortcuts } from "./shortcuts.js";
import { toast } from "./toasts.js";
import { takePicture } from "./detect/camera.js";
import * as code from "./detect/code.js";
import { hasFiles, takeFiles } from "./detect/drops.js";
import * as options from "./detect/options.js";
import { preview } from "./detect/previews.js";
import * as queue from "./detect/queue.js";
import * as recent from "./detect/recent.js";

const MOST_PREVIEWS = 60; // at once: three megabytes each

const page = find("#detect", HTMLElement);
const picker = find("#picker", HTMLInputElement);
const camera = find("#camera-picker", HTMLInputElement);
const dropHint = find("#drop-hint", HTMLElement);

/**
 * @param {Iterable<File>} files
 * @param {[string, string][]} [fields]
 */
function send(files, fields) {
  const all = [...files];
  if (!all.length || !options.isValid()) return;
  all.forEach((file, index) => {
    const entry = recent.addItem(queue.add(file, fields ?? options.chosen()));
    if (index >= all.length - MOST_PREVIEWS) preview(file, (canvas) => showPreview(entry.card, canvas));
  });
}

/** @type {import("./detect/cards.js").Card[]} the latest last */
const previewed = [];

/**
 * @param {import("./detect/cards.js").Card} card
 * @param {HTMLCanvasElement} canvas
 */
function showPreview(card, canvas) {
  if (!card.showPreview(canvas)) return;
  if (previewed.push(card) > MOST_PREVIEWS) previewed.shift()?.dropPreview();
}

/** @param {HTMLInputElement} input */
function sendChosen(input) {
  send(input.files ?? []);
  input.value = ""; // so that the same file may be chosen again
}

/** @param {ClipboardEvent} event */
function paste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  const time = new Date().toLocaleTimeString("en-GB").replaceAll(":", ".");
  send(files.map((file) => (file.name === "image.png" ? renamed(file, `Pasted ${time}.png`) : file)));
}

/**
 * @param {File} file
 * @param {string} name
 */
const renamed = (file, name) => new File([file], name, { type: file.type });

/** @param {HTMLButtonElement} button */
async function sendSample(button) {
  try {
    const answer = await fetch(button.dataset.sample ?? "");
    if (!answer.ok) throw new Error(answer.statusText);
    const file = new File([await answer.blob()], button.dataset.name ?? "", { type: "image/jpeg" });
    send([file], [["detector", page.dataset.sampleDetector ?? ""]]);
  } catch {
    toast("The sample could not be loaded.");
  }
}

function listen() {
  find("#choose", HTMLButtonElement).addEventListener("click", () => picker.click());
  find("#take", HTMLButtonElement).addEventListener("click", () => takePicture(camera, (file) => send([file])));
  for (const input of [picker, camera]) input.addEventListener("change", () => sendChosen(input));
  for (const sample of document.querySelectorAll("button[data-sample]")) {
    if (sample instanceof HTMLButtonElement) sample.addEventListener("click", () => during(sample, () => sendSample(sample)));
  }
  document.addEventListener("paste", paste);
  listenToDrops();
}

function listenToDrops() {
  addEventListener("dragenter", (event) => hasFiles(event) && (dropHint.hidden = false));
  addEventListener("dragleave", (event) => event.relatedTarget || (dropHint.hidden = true));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    dropHint.hidden = true;
    if (event.dataTransfer) takeFiles(event.dataTransfer, send);
  });
}

options.begin();
queue.begin(Number(page.dataset.mostMegabytes), (item) => {
  recent.drawItem(item);
  code.remember(item);
});
recent.begin(JSON.parse(find("#cards-data", HTMLElement).textContent ?? "[]"));
listen();
addShortcuts(
  { label: "Choose files", keys: { u: () => picker.click() } },
  { label: "Paste a picture", keys: { "Ctrl+v": null } },
);
offerCode(code.requests);
