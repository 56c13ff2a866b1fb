// Texts for the clipboard, also on pages without HTTPS.

/**
 * Whether the browser took the text.
 * @param {string} text
 */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text); // by plain HTTP there is no `navigator.clipboard`
  }
}

/** @param {string} text */
function copiedBySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  (document.querySelector("dialog:modal") ?? document.body).append(area); // outside of it nothing can be selected
  area.select();
  const taken = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return taken;
}
