"""How far two detectors agree about the same pictures: pure arithmetic on boxes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from detections.inference import Box

Boxes = Sequence[Box]


@dataclass(slots=True)
class Agreement:
    """Of one class, over all pictures. Sums are over the pairs; a difference is B's confidence less A's."""

    only_a: int = 0
    both: int = 0
    only_b: int = 0
    iou_sum: float = 0.0
    difference_sum: float = 0.0

    @property
    def share(self) -> float | None:
        """Of all objects that either has found, those that both have."""
        total = self.only_a + self.both + self.only_b
        return self.both / total if total else None

    @property
    def mean_iou(self) -> float | None:
        return self.iou_sum / self.both if self.both else None

    @property
    def mean_difference(self) -> float | None:
        return self.difference_sum / self.both if self.both else None

    def add(self, a: Boxes, b: Boxes, least_iou: float) -> None:
        """What was found of this class on one picture."""
        matched = pairs(a, b, least_iou)
        self.both += len(matched)
        self.only_a += len(a) - len(matched)
        self.only_b += len(b) - len(matched)
        for one, other, overlap in matched:
            self.iou_sum += overlap
            self.difference_sum += other.confidence - one.confidence


def compare(pictures: Iterable[tuple[Boxes, Boxes]], least_iou: float) -> dict[str, Agreement]:
    """By class, in the order of their names: what A and what B found on each picture."""
    classes: defaultdict[str, Agreement] = defaultdict(Agreement)
    for a, b in pictures:
        for name in {box.object_class for box in (*a, *b)}:
            classes[name].add(of_class(a, name), of_class(b, name), least_iou)
    return dict(sorted(classes.items()))


def total(agreements: Collection[Agreement]) -> Agreement:
    return Agreement(
        only_a=sum(each.only_a for each in agreements),
        both=sum(each.both for each in agreements),
        only_b=sum(each.only_b for each in agreements),
        iou_sum=sum(each.iou_sum for each in agreements),
        difference_sum=sum(each.difference_sum for each in agreements),
    )


def of_class(boxes: Boxes, name: str) -> Boxes:
    """By name: two detectors may number their classes differently."""
    return [box for box in boxes if box.object_class == name]


def pairs(a: Boxes, b: Boxes, least_iou: float) -> list[tuple[Box, Box, float]]:
    """Each box at most once, with its IoU: greedily, those that overlap most first."""
    overlaps = sorted(
        (
            (overlap, i, j)
            for i, one in enumerate(a)
            for j, other in enumerate(b)
            if (overlap := iou(one, other)) >= least_iou
        ),
        key=lambda triple: (-triple[0], *triple[1:]),
    )
    matched, taken_a, taken_b = [], set[int](), set[int]()
    for overlap, i, j in overlaps:
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            matched.append((a[i], b[j], overlap))
    return matched


def iou(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)
