// A picture of the camera: phones have an input for it; elsewhere the page shows what the camera sees.

import { find } from "../dom.js";
import { toast } from "../toasts.js";

const dialog = find("#camera", HTMLDialogElement);
const video = find("#camera-view", HTMLVideoElement);
const shoot = find("#camera-shoot", HTMLButtonElement);

const SECONDS = 12; // to read what to do
/** What to do, by the name of the browser's error. @type {Record<string, string>} */
const ADVICE = {
  NotAllowedError: "This page may not use the camera. Allow it beside the address of the page, then try again.",
  NotFoundError: "No camera was found. Connect one, or choose a file.",
  NotReadableError: "The camera does not answer. Close other programs that use it, then try again.",
};

let isAsking = false;

/**
 * @param {HTMLInputElement} input of phones
 * @param {(file: File) => void} onPicture
 */
export async function takePicture(input, onPicture) {
  if (matchMedia("(pointer: coarse)").matches) return input.click();
  if (!navigator.mediaDevices) return void toast("Browsers open the camera on pages with HTTPS alone. Choose a file instead.", { seconds: SECONDS });
  if (isAsking || dialog.open) return; // one stream at a time
  isAsking = true;
  try {
    show(await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } }), onPicture);
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    toast(ADVICE[name] ?? "The camera cannot be opened. Choose a file instead.", { seconds: SECONDS });
  } finally {
    isAsking = false;
  }
}

/**
 * @param {MediaStream} stream
 * @param {(file: File) => void} onPicture
 */
function show(stream, onPicture) {
  shoot.disabled = true;
  video.onloadeddata = () => {
    shoot.disabled = false; // before, there is no picture to take
    shoot.focus();
  };
  video.srcObject = stream;
  shoot.onclick = async () => {
    onPicture(await frame());
    dialog.close();
  };
  find("#camera-close", HTMLButtonElement).onclick = () => dialog.close();
  dialog.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
  dialog.showModal();
}

/** @returns {Promise<File>} */
async function frame() {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  const time = new Date().toLocaleTimeString("en-GB").replaceAll(":", ".");
  return new File([blob], `Camera ${time}.jpg`, { type: "image/jpeg" });
}
