from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """One object: top-left corner and size, normalised to 0..1 of the upright image."""

    class_id: int
    object_class: str
    confidence: float
    x: float
    y: float
    width: float
    height: float


def iou(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)
