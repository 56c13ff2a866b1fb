"""How to look at images: what may be wanted, and what is chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from accounts.models import User, UserSettings
from detections.detectors import registry
from detections.inference import Options, geometry
from detections.models import Detector, UnknownClassesError
from detections.search import named_classes

ALL_CLASSES = "*"
MOST_DETECTIONS = 3000
SMALLEST_TILE, LARGEST_SIZE = 64, 2048
STRIDE = 32  # models see in steps of so many pixels
LARGEST_OVERLAP = 0.5
MOST_TILES = 64
# Options that are taken as they are named; the others depend on the user or the detector.
PLAIN = ("iou", "max_detections", "augment", "tile", "overlap")


class UploadError(Exception):
    """A value or a file that is not taken.

    `field` is its name in a request; the text is for the user.
    """

    def __init__(self, field: str, text: str, code: str) -> None:
        super().__init__(text)
        self.field = field
        self.code = code


class NoDetectorError(Exception):
    """No detector is named, and there is no default one."""


def chosen_detector(name: str | None) -> Detector:
    """The detector of this name, without one the default.

    Raises UploadError, NoDetectorError.
    """
    if name:
        try:
            return registry.find_detector(name)
        except registry.UnknownDetectorError as error:
            raise UploadError("detector", str(error), "unknown_detector") from error
    detector = Detector.objects.default()
    if detector is None:
        raise NoDetectorError
    return detector


def chosen_options(detector: Detector, wanted: Mapping[str, Any], user: User | None = None) -> Options:
    """Options as wanted, else by the user's settings, else by the environment.

    Raises UploadError. `wanted` has values by the names of `Options`; its `classes` are names or ids, as one
    text or as a list.
    """
    preferences = user.preferences if user else UserSettings()
    named = {name: wanted[name] for name in PLAIN if wanted.get(name) is not None}
    return Options(
        confidence=chosen_confidence(wanted.get("confidence"), preferences),
        classes=chosen_classes(wanted.get("classes") or "", preferences, detector),
        image_size=chosen_image_size(wanted.get("image_size"), detector),
        **named,
    )


def chosen_confidence(wanted: float | None, preferences: UserSettings) -> float:
    named = (value for value in (wanted, preferences.default_confidence) if value is not None)
    return next(named, settings.CONFIDENCE_THRESHOLD)


def chosen_classes(
    wanted: str | Sequence[str], preferences: UserSettings, detector: Detector
) -> tuple[int, ...] | None:
    """The ids of classes; None means all of them. Raises UploadError."""
    defaults = preferences.default_classes
    if not wanted and not defaults:
        return None
    known = detector.known_classes
    sent = named_classes(wanted, known) if wanted else []
    if sent == [ALL_CLASSES] and ALL_CLASSES not in known:
        return None
    # Default classes are for any detector: this one need not know all of them.
    names = sent or [name for name in defaults if name in known] or defaults
    if not names:
        return None
    try:
        return tuple(detector.class_ids(names))
    except UnknownClassesError as error:
        source = "" if sent else "By the default_classes of your settings: "
        raise UploadError("classes", f"{source}{error}", "unknown_class") from error


def chosen_image_size(wanted: int | None, detector: Detector) -> int | None:
    """Pixels of the longer side; None means the detector's own size.

    Raises UploadError.
    """
    if wanted is None or detector.takes_any_size:
        return wanted
    if wanted != detector.image_size:
        text = f"{detector.name} takes images of {detector.image_size} pixels alone."
        raise UploadError("image_size", text, "fixed_size")
    return None


def too_many_tiles(size: tuple[int, int], options: Options) -> str:
    """Why an image of this size cannot be looked at in tiles of the wanted size; empty if it can."""
    count = geometry.tile_count(size, options.tile, options.overlap) if options.tile else 0
    if count <= MOST_TILES:
        return ""
    return f"{size[0]} x {size[1]} pixels make {count} tiles; at most {MOST_TILES} are allowed."
