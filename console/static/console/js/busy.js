// A button acts once at a time: meanwhile a second click or a held key does nothing.

/**
 * @param {Element | null} button
 * @param {() => unknown} work
 */
export async function during(button, work) {
  if (!(button instanceof HTMLButtonElement)) return void (await work());
  if (button.disabled) return; // a key may send its form all the same
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  try {
    await work();
  } finally {
    button.disabled = false;
    if (hadFocus && document.activeElement === document.body) button.focus(); // a disabled button loses it
  }
}

/**
 * Sends a form by `work`, once at a time.
 * @param {HTMLFormElement} form
 * @param {() => unknown} work
 */
export function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    during(form.querySelector("button:not([type=button])"), work);
  });
}
