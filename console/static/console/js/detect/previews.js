// Small pictures of files that are still here: decoded one after the other, so that the page stays smooth.

const WIDTH = 480;

/** @typedef {{file: Blob, onCanvas: (canvas: HTMLCanvasElement) => void}} Wish */

/** @type {Wish[]} */
const wishes = [];
let isDrawing = false;

/**
 * The last one that was asked for comes first: it is at the top of the page.
 * @param {Blob} file
 * @param {(canvas: HTMLCanvasElement) => void} onCanvas not called if the browser cannot read the file
 */
export function preview(file, onCanvas) {
  wishes.push({ file, onCanvas });
  if (!isDrawing) drawAll();
}

async function drawAll() {
  isDrawing = true;
  await Promise.resolve(); // all files of a drop are here by then
  for (let wish = wishes.pop(); wish; wish = wishes.pop()) {
    const canvas = await drawn(wish.file);
    if (canvas) wish.onCanvas(canvas);
  }
  isDrawing = false;
}

/** @param {Blob} file */
async function drawn(file) {
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: WIDTH, resizeQuality: "medium" });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("bitmaprenderer")?.transferFromImageBitmap(bitmap);
    return canvas;
  } catch {
    return null; // such as a HEIC: the server's thumbnail follows
  }
}
