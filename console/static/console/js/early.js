// A form that is sent before the scripts are here waits for them: `forms.js` sends it.
// No module, so that it is here before the page is seen.

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.dataset.call === undefined || document.documentElement.dataset.forms) return;
  event.preventDefault();
  form.dataset.waits = "";
});
