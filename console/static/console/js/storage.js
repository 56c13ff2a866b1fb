// What the browser keeps for the console. It may refuse, be full or damaged: pages work without it.

/** @typedef {"localStorage" | "sessionStorage"} Place of this browser, or of this tab */

/**
 * @param {Place} place
 * @param {string} key
 * @returns {any} null if nothing is kept that can be read
 */
export function kept(place, key) {
  try {
    return JSON.parse(window[place].getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Place} place
 * @param {string} key
 * @param {any} value
 */
export function keep(place, key, value) {
  try {
    window[place].setItem(key, JSON.stringify(value));
  } catch {
    // Then the next page begins without it.
  }
}
