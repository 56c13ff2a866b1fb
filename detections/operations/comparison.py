"""How far two detectors agree on the same images: arithmetic on boxes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from detections.images.boxes import Box, iou

Boxes = Sequence[Box]


@dataclass(slots=True)
class Agreement:
    """The agreement on one class over all images. Sums are over pairs; a difference is B's minus A's."""

    only_a: int = 0
    both: int = 0
    only_b: int = 0
    iou_sum: float = 0.0
    difference_sum: float = 0.0

    @property
    def share(self) -> float | None:
        """The share of objects found by both among all that A or B found."""
        total = self.only_a + self.both + self.only_b
        return self.both / total if total else None

    @property
    def mean_iou(self) -> float | None:
        return self.iou_sum / self.both if self.both else None

    @property
    def mean_difference(self) -> float | None:
        return self.difference_sum / self.both if self.both else None

    def add(self, a: Boxes, b: Boxes, least_iou: float) -> None:
        """Add the boxes of this class on one image."""
        matched = match_boxes(a, b, least_iou)
        self.both += len(matched)
        self.only_a += len(a) - len(matched)
        self.only_b += len(b) - len(matched)
        for one, other, overlap in matched:
            self.iou_sum += overlap
            self.difference_sum += other.confidence - one.confidence


def compare(pictures: Iterable[tuple[Boxes, Boxes]], least_iou: float) -> dict[str, Agreement]:
    """The agreement by class, sorted by name. `pictures` has A's and B's boxes on each image."""
    classes: defaultdict[str, Agreement] = defaultdict(Agreement)
    for a, b in pictures:
        for name in {box.object_class for box in (*a, *b)}:
            classes[name].add(boxes_of_class(a, name), boxes_of_class(b, name), least_iou)
    return dict(sorted(classes.items()))


def total_agreement(agreements: Collection[Agreement]) -> Agreement:
    return Agreement(
        only_a=sum(each.only_a for each in agreements),
        both=sum(each.both for each in agreements),
        only_b=sum(each.only_b for each in agreements),
        iou_sum=sum(each.iou_sum for each in agreements),
        difference_sum=sum(each.difference_sum for each in agreements),
    )


def boxes_of_class(boxes: Boxes, name: str) -> Boxes:
    """The boxes of a class, by its name: detectors may number their classes differently."""
    return [box for box in boxes if box.object_class == name]


def match_boxes(a: Boxes, b: Boxes, least_iou: float) -> list[tuple[Box, Box, float]]:
    """Pairs of boxes with their IoU: greedily, highest IoU first, each box at most once."""
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
