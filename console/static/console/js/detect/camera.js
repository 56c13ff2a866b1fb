// A picture of the camera: phones have an input for it; elsewhere the page shows what the camera sees.

import { find } from "../dom.js";
import { toast } from "../toasts.js";

const dialog = find("#camera", HTMLDialogElement);
const video = find("#camera-view", HTMLVideoElement);

/**
 * @param {HTMLInputElement} input of phones
 * @param {(file: File) => void} onPicture
 */
export async function takePicture(input, onPicture) {
  // Pages without encryption have no camera, but the input still chooses files.
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) return input.click();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
    show(stream, onPicture);
  } catch {
    toast("There is no camera, or this page may not use it.");
  }
}

/**
 * @param {MediaStream} stream
 * @param {(file: File) => void} onPicture
 */
function show(stream, onPicture) {
  video.srcObject = stream;
  dialog.showModal();
  find("#camera-shoot", HTMLButtonElement).onclick = async () => {
    onPicture(await frame());
    dialog.close();
  };
  find("#camera-close", HTMLButtonElement).onclick = () => dialog.close();
  dialog.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
}

/** @returns {Promise<File>} */
async function frame() {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  const time = new Date().toLocaleTimeString("en-GB").replaceAll(":", ".");
  return new File([blob], `Camera ${time}.jpg`, { type: "image/jpeg" });
}
