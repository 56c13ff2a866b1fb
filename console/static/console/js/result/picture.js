// A picture as bitmaps: one near the size of the view, the whole one once a zoom shows more.

/** The storage has no file of the picture any more, or it cannot be shown. */
export class NoPicture extends Error {}

const MOST_PIXELS = 60_000_000; // of a bitmap: four bytes each

export class Picture {
  /**
   * @param {Blob} file
   * @param {number} width of the upright picture
   * @param {number} height
   */
  constructor(file, width, height) {
    this.file = file;
    this.width = width;
    this.height = height;
    /** @type {ImageBitmap | null} */
    this.small = null;
    /** @type {ImageBitmap | null} */
    this.whole = null;
    this.isLoading = false;
  }

  /**
   * The sharpest bitmap at hand for so many pixels of width.
   * @param {number} pixels
   */
  bitmapFor(pixels) {
    return this.small && pixels <= this.small.width ? this.small : (this.whole ?? this.small);
  }

  /**
   * @param {number} pixels of the width that the screen shows
   * @returns {Promise<boolean>} whether there is a sharper bitmap now
   */
  async sharpen(pixels) {
    const sharpest = this.whole ?? this.small;
    if (this.isLoading || !sharpest || pixels <= sharpest.width || sharpest.width >= this.width) return false;
    this.isLoading = true;
    const share = Math.min(1, Math.sqrt(MOST_PIXELS / (this.width * this.height)));
    const whole = await bitmap(this.file, Math.round(this.width * share), Math.round(this.height * share));
    const isSharper = whole.width > sharpest.width;
    if (isSharper) this.whole = whole;
    else whole.close();
    return isSharper; // `isLoading` stays: there is nothing sharper
  }

  close() {
    this.small?.close();
    this.whole?.close();
    this.small = this.whole = null;
    this.isLoading = true;
  }
}

/**
 * @param {string[]} urls of the same picture, the best first
 * @param {number} width of the upright picture
 * @param {number} height
 * @param {number} pixels of the width that the screen shows
 */
export async function loadPicture(urls, width, height, pixels) {
  for (const url of urls) {
    const answer = await fetch(url);
    if (!answer.ok) throw new NoPicture();
    const file = await answer.blob();
    const picture = new Picture(file, width, height);
    const share = Math.min(1, pixels / width);
    try {
      if (!(await isUpright(file, width))) continue;
      picture.small = await bitmap(file, Math.max(1, Math.round(width * share)), Math.max(1, Math.round(height * share)));
    } catch (error) {
      if (error instanceof DOMException) continue; // a format that browsers do not show, such as TIFF
      throw error;
    }
    return picture;
  }
  throw new NoPicture();
}

/**
 * Browsers turn JPEGs as the server does; of other formats, it is looked at.
 * @param {Blob} file
 * @param {number} width
 */
async function isUpright(file, width) {
  if (file.type === "image/jpeg") return true;
  const whole = await createImageBitmap(file);
  const isSame = whole.width === width;
  whole.close();
  return isSame;
}

/**
 * @param {Blob} file
 * @param {number} width
 * @param {number} height
 */
function bitmap(file, width, height) {
  return createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" });
}
