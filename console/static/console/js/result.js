// The page of a result: its picture on the stage, what was found beside it.

import { call, Unreachable } from "./api.js";
import { during } from "./busy.js";
import { openCode } from "./code_button.js";
import { find } from "./dom.js";
import { isOpen, onConnection, onMessage } from "./live.js";
import "./menus.js";
import { pause } from "./pause.js";
import { act, beginRename, bindActions, deleteSoon } from "./result/actions.js";
import { tagOf } from "./result/boxes.js";
import { Filters } from "./result/filters.js";
import { List } from "./result/list.js";
import { Gone, readState, takeParts } from "./result/parts.js";
import { loadPicture, NoPicture } from "./result/picture.js";
import { openShare } from "./result/share.js";
import { Stage } from "./result/stage.js";
import { addShortcuts, showShortcuts } from "./shortcuts.js";
import { toast } from "./toasts.js";
import { undo } from "./undo.js";

/** @typedef {import("./result/boxes.js").Box} Box */

const POLL_MILLISECONDS = 3000;
const REST_MILLISECONDS = 500; // between two requests for what live messages tell of
const STEP = 1.25;
const NO_CLASS = "-"; // with the highest least confidence: the picture without boxes

let state = readState();
/** @type {Box[]} */
let boxes = [];
let shownImage = "";

const canvas = find("canvas", HTMLCanvasElement);
const stageSection = find(".stage", HTMLElement);
const stage = new Stage(canvas, {
  onPoint: (box) => {
    list.point(box);
    list.reveal(box);
  },
  onSelect: (box) => {
    select(box);
    list.reveal(box);
  },
  onZoom: (zoom) => (find(".zoom", HTMLOutputElement).value = `${Math.round(100 * zoom)} %`),
});
const body = find(".found-body", HTMLElement);
const list = new List(body, {
  onPoint: (box) => {
    list.point(box);
    stage.point(box);
  },
  onSelect: (box) => {
    select(box);
    stage.reveal(box);
  },
});
const filters = new Filters(find(".panel", HTMLElement), applyFilters);

/** @param {Box | null} box */
function select(box) {
  stage.select(box);
  list.select(box);
}

function showState() {
  boxes = state.boxes.map((box) => ({ ...box, ...colourOf(box.class_id), tag: tagOf(box) }));
  if (state.image_id !== shownImage) showPicture();
  body.replaceChildren(filters.setBoxes(boxes), list.setBoxes(boxes));
  applyFilters();
}

/** @param {number} classId */
function colourOf(classId) {
  return /** @type {{fill: string, ink: string}} */ (state.colours[classId % state.colours.length]);
}

function applyFilters() {
  const shown = boxes.filter((box) => filters.shows(box));
  stage.setBoxes(shown);
  list.filter((box) => filters.shows(box));
  tellFound(shown);
  setDownload(shown);
}

/** @param {Box[]} shown */
function tellFound(shown) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { object_class } of shown) counts.set(object_class, (counts.get(object_class) ?? 0) + 1);
  const words = [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
  canvas.setAttribute("aria-label", `${find("h1", HTMLElement).textContent}: ${words || "no boxes"}`);
  find(".found", HTMLElement).textContent = foundText(shown.length);
}

/** @param {number} shown */
function foundText(shown) {
  if (!state.processed) return state.is_finished ? "" : "What is found appears here.";
  if (boxes.length === 0) return "Nothing was found in this picture.";
  const told = (/** @type {number} */ number) => number.toLocaleString("en");
  const part = shown < boxes.length ? `${told(shown)} of ` : "";
  const drawn = `${part}${told(boxes.length)} ${boxes.length === 1 ? "object" : "objects"}`;
  if (!state.more) return drawn;
  return `${drawn}, the most confident of ${told(boxes.length + state.more)}. The others are not drawn; files have them.`;
}

/** @param {Box[]} shown what the annotated picture shall show */
function setDownload(shown) {
  const link = document.querySelector('[data-download="annotated"]');
  if (!(link instanceof HTMLAnchorElement)) return;
  const url = new URL(link.href);
  url.searchParams.set("min_confidence", String(shown.length || !boxes.length ? filters.least : 1));
  url.searchParams.delete("classes");
  const classes = shown.length || !boxes.length ? filters.classes : [NO_CLASS];
  for (const name of classes ?? []) url.searchParams.append("classes", name);
  link.href = url.href;
}

async function showPicture() {
  const { detection_id, image_id, width, height } = state;
  shownImage = image_id;
  delete canvas.dataset.shown;
  find(".stage-view", HTMLElement).classList.remove("missing");
  stage.select(null);
  stage.setSize(width ?? stage.view.width, height ?? stage.view.height);
  if (!state.has_file || !width || !height) return;
  const api = `/api/v1/detect/${detection_id}`;
  // What browsers cannot show themselves the server draws, without boxes.
  const drawn = `${api}/image?image_id=${image_id}&min_confidence=1&classes=${NO_CLASS}`;
  const pixels = width * stage.at.scale * devicePixelRatio;
  try {
    const picture = await loadPicture([`${api}/images/${image_id}`, drawn], width, height, pixels);
    if (image_id !== shownImage) return picture.close();
    stage.setPicture(picture);
    canvas.dataset.shown = image_id;
  } catch (error) {
    if (!(error instanceof NoPicture) && !(error instanceof TypeError)) throw error;
    find(".stage-view", HTMLElement).classList.toggle("missing", image_id === shownImage);
  }
}

async function refresh() {
  try {
    if (!(await takeParts())) return setDownload(stage.boxes);
    state = readState();
    showState();
  } catch (error) {
    if (error instanceof Gone) return location.reload();
    if (!(error instanceof Unreachable)) throw error;
    toast(error.message);
  }
}

/** @param {"prev" | "next"} way */
async function turn(way) {
  const link = document.querySelector(`.pager [rel="${way}"]`);
  const isDeleted = find(".result", HTMLElement).inert;
  // Until the answer has come, the link leads to where the page is.
  if (!(link instanceof HTMLAnchorElement) || link.href === location.href || isDeleted) return;
  history.pushState(null, "", link.href);
  stageSection.setAttribute("aria-busy", "true");
  await refresh();
  stageSection.removeAttribute("aria-busy");
}

async function toggleFullScreen() {
  try {
    await (document.fullscreenElement ? document.exitFullscreen() : stageSection.requestFullscreen());
  } catch {
    toast("This browser shows no full screen here."); // phones know it for videos alone
  }
}

/** @param {"Boxes" | "Labels"} what */
function toggleShown(what) {
  const isShown = (stage[`shows${what}`] = !stage[`shows${what}`]);
  find(`[data-action="${what.toLowerCase()}"]`, HTMLElement).setAttribute("aria-pressed", String(isShown));
  stage.change();
}

function showRequests() {
  /** @type {import("./code_panel.js").Offered[]} */
  const requests = JSON.parse(find(".result-actions", HTMLElement).dataset.requests ?? "[]");
  const link = document.querySelector('[data-download="annotated"]');
  const annotated = requests.find((request) => request.savedAs === "annotated.jpg");
  if (annotated && link instanceof HTMLAnchorElement) {
    const url = new URL(link.href);
    url.searchParams.delete("download");
    annotated.path = `${url.pathname.replace("/api/v1/", "")}${url.search}`;
  }
  openCode(requests);
}

/** @param {string} path below the detection's or the job's */
const job = (path) => act(() => call("POST", `detect/jobs/${state.detection_id}/${path}`), refresh);
/** @param {boolean} isPublic */
const publish = (isPublic) => act(() => call("PATCH", `detect/${state.detection_id}`, { is_public: isPublic }), refresh);

/** @type {Record<string, () => unknown>} */
const ACTIONS = {
  "zoom-in": () => stage.zoom(STEP),
  "zoom-out": () => stage.zoom(1 / STEP),
  fit: () => stage.fit(),
  "full-screen": toggleFullScreen,
  boxes: () => toggleShown("Boxes"),
  labels: () => toggleShown("Labels"),
  rename: beginRename,
  code: showRequests,
  share: () => openShare(state.detection_id),
  publish: () => publish(true),
  withdraw: () => publish(false),
  retry: () => job("retry"),
  cancel: () => job("cancel"),
  rerun: () => find("#rerun-dialog", HTMLDialogElement).showModal(),
  help: showShortcuts,
  delete: () => deleteSoon(state.detection_id),
};
document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const button = target?.closest("[data-action]") ?? null;
  const action = ACTIONS[button?.getAttribute("data-action") ?? ""];
  if (action) during(button, action);
  const link = target?.closest(".pager a");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    turn(link.getAttribute("rel") === "prev" ? "prev" : "next");
  }
});
addEventListener("popstate", refresh);
addEventListener("pageshow", (event) => {
  const [visit] = performance.getEntriesByType("navigation");
  const isBack = visit instanceof PerformanceNavigationTiming && visit.type === "back_forward";
  if (event.persisted || isBack) refresh(); // it comes as it was left
});

addShortcuts(
  { label: "Previous and next picture", keys: { ArrowLeft: () => turn("prev"), ArrowRight: () => turn("next") } },
  { label: "Zoom in and out", keys: { "+": () => stage.zoom(STEP), "-": () => stage.zoom(1 / STEP) } },
  { label: "Fit", keys: { 0: () => stage.fit() } },
  { label: "Full screen", keys: { f: toggleFullScreen } },
  { label: "Boxes, and their labels", keys: { b: () => toggleShown("Boxes"), l: () => toggleShown("Labels") } },
  { label: "Undo a deletion", keys: { "Ctrl+z": undo } },
  { label: "Select nothing", keys: { Escape: () => select(null) } },
);

bindActions(() => state.detection_id, refresh);
onMessage((message) => {
  if (message.detection_id === state.detection_id) refreshSoon();
});
let isAsking = false;
let isStale = false;
/** One request at a time, and a pause after it: a batch tells of many images a second. */
async function refreshSoon() {
  isStale = true;
  if (isAsking) return;
  isAsking = true;
  try {
    for (; isStale; await pause(REST_MILLISECONDS)) {
      isStale = false;
      await refresh();
    }
  } finally {
    isAsking = false;
  }
}
onConnection((now) => now && !state.is_finished && refreshSoon()); // what ended before is told by no message
setInterval(() => {
  if (!isOpen && !state.is_finished) refreshSoon();
}, POLL_MILLISECONDS);
showState();
