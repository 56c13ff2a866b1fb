// Wheel, drag, pinch, click and double click on an element, in CSS pixels from its corner.

const CLICK_PIXELS = 4;

/**
 * @typedef {{zoom: (factor: number, x: number, y: number) => void, pan: (dx: number, dy: number) => void,
 *   point: (x: number, y: number) => void, leave: () => void, click: (x: number, y: number) => void,
 *   double: (x: number, y: number) => void}} Gestures
 */

/**
 * @param {HTMLElement} target
 * @param {Gestures} gestures
 */
export function onGestures(target, gestures) {
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  let moved = 0;

  /** @param {MouseEvent} event */
  function place(event) {
    const corner = target.getBoundingClientRect();
    return { x: event.clientX - corner.left, y: event.clientY - corner.top };
  }

  /** @param {PointerEvent} event */
  function drag(event) {
    const before = down.get(event.pointerId);
    const now = place(event);
    if (!before) return gestures.point(now.x, now.y);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (other) pinch(before, now, other);
    else if (moved > CLICK_PIXELS) gestures.pan(now.x - before.x, now.y - before.y);
    down.set(event.pointerId, now);
  }

  /**
   * @param {{x: number, y: number}} before
   * @param {{x: number, y: number}} now
   * @param {{x: number, y: number}} other the finger that rests
   */
  function pinch(before, now, other) {
    const wide = Math.hypot(before.x - other.x, before.y - other.y);
    const factor = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, wide);
    gestures.zoom(factor, (now.x + other.x) / 2, (now.y + other.y) / 2);
    gestures.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  target.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = place(event);
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      gestures.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y);
    },
    { passive: false },
  );
  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (down.size === 0) moved = 0;
    down.set(event.pointerId, place(event));
    target.setPointerCapture(event.pointerId);
  });
  target.addEventListener("pointermove", drag);
  for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
    target.addEventListener(name, (event) => down.delete(event.pointerId));
  }
  target.addEventListener("pointerleave", () => gestures.leave());
  target.addEventListener("click", (event) => {
    const { x, y } = place(event);
    if (moved <= CLICK_PIXELS) gestures.click(x, y);
  });
  target.addEventListener("dblclick", (event) => {
    const { x, y } = place(event);
    gestures.double(x, y);
  });
}
