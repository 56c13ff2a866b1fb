"""Numbers for the classes of an export."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from detections.exports.file_names import NamedImage
from detections.models import DetectionResult, Detector


class ClassNumbers:
    """Numbers for classes, from 0: the first detector's own ids, then new classes in the order they come.

    Detectors share a class if its name is the same, and its place among their classes of that name. A class
    that a person named is the first one of this name.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.by_name: dict[str, list[int]] = {}
        self.by_detector: dict[Any, list[int]] = {}

    def meet(self, detector: Detector) -> None:
        if detector.pk not in self.by_detector:
            places = Counter[str]()
            self.by_detector[detector.pk] = [self.number(name, places) for name in detector.classes]

    def number(self, name: str, places: Counter[str]) -> int:
        """The number of the next class of this name; `places` counts the earlier ones."""
        numbers = self.by_name.setdefault(name, [])
        if places[name] == len(numbers):
            numbers.append(len(self.names))
            self.names.append(name)
        places[name] += 1
        return numbers[places[name] - 1]

    def of(self, result: DetectionResult) -> int:
        known = self.by_detector[result.image.detector_id][result.class_id : result.class_id + 1]
        if known and self.names[known[0]] == result.object_class:
            return known[0]
        return self.number(result.object_class, Counter())


def with_numbered_classes(items: Iterable[NamedImage], numbers: ClassNumbers) -> Iterator[NamedImage]:
    for item in items:
        numbers.meet(item.image.detector)
        yield item


def with_classes(items: Iterable[NamedImage], classes: dict[str, None]) -> Iterator[NamedImage]:
    """The same images, while `classes` becomes the names of all classes, each once and in order."""
    for item in items:
        classes.update(dict.fromkeys(item.image.detector.classes))
        for result in item.image.results.all():
            classes.update(dict.fromkeys((result.object_class, result.final_class)))
        yield item
