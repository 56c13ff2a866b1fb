"""How soon the console shows what was found on a picture that is dropped on it."""

from __future__ import annotations

import base64
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figures import Figures, Measure, Row, Target
from testing import browsers, services

if TYPE_CHECKING:
    from benchmarks.systems import Systems

MOST_MILLISECONDS = 1000
# Drops the picture as a user does, and resolves to the milliseconds until a frame shows its result.
DROP = """
(content) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  const count = () => document.querySelectorAll('#cards [data-state="completed"]').length;
  const before = count();
  return new Promise((resolve) => {
    const started = performance.now();
    const look = () =>
      requestAnimationFrame(count() > before ? () => resolve(performance.now() - started) : look);
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    look();
  });
}
"""


def take_first_result(systems: Systems) -> Figures:
    """From the drop to the card that shows the result, the first drop not counted, in embedded mode."""
    if not services.chromium():
        return {"first result": "there is no Chromium"}
    content = base64.b64encode(systems.source.read_bytes()).decode()
    stack = systems.embedded
    with browsers.launched() as browser:
        page = browser.new_page(base_url=stack.url)
        browsers.log_in(page, stack.shared_client.email)
        taken = [page.evaluate(DROP, content) for _ in range(systems.sizes.drops + 1)]
    return {"first result": float(median(taken[1:]))}


FIRST_RESULT = Measure(
    take=take_first_result,
    rows=[Row("first result", "ms", target=Target(most=MOST_MILLISECONDS))],
)
