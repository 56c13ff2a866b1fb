// Menus next to the buttons that open them, instead of in a corner of the page.

const GAP = 4;
const EDGE = 16;

document.addEventListener("toggle", placeMenus, { capture: true }); // it does not bubble
document.addEventListener("scroll", placeMenus, { passive: true });
addEventListener("resize", placeMenus);
document.addEventListener("click", (event) => {
  const clicked = event.target instanceof Element ? event.target : null;
  const menu = clicked?.closest(".menu a, .menu button")?.closest(".menu:popover-open");
  if (menu instanceof HTMLElement) menu.hidePopover();
});

function placeMenus() {
  for (const menu of document.querySelectorAll(".menu:popover-open")) {
    const button = document.querySelector(`[popovertarget="${menu.id}"]`);
    if (button && menu instanceof HTMLElement) place(menu, button.getBoundingClientRect());
  }
}

/**
 * @param {HTMLElement} menu
 * @param {DOMRect} button
 */
function place(menu, button) {
  const right = Math.min(innerWidth - button.right, innerWidth - menu.offsetWidth - EDGE);
  const top = Math.min(button.bottom + GAP, innerHeight - menu.offsetHeight - EDGE);
  menu.style.right = `${Math.max(EDGE, right)}px`;
  menu.style.top = `${Math.max(EDGE, top)}px`;
}
