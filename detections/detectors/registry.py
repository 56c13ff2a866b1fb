"""Which detectors there are: registers prepared weights as rows, and finds rows by name."""

import logging

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from detections.detectors import preparation
from detections.inference import checkpoints
from detections.models import Detector, DetectorQuerySet, some

logger = logging.getLogger(__name__)

DOWNLOADED_BY_DEFAULT = "yolo26n.pt"


def register(source: str, *, backend: str = "auto", default: bool = False) -> Detector:
    """Prepare the source and create or update its row. The first detector becomes the default anyway.

    Raises PreparationError.
    """
    folder, manifest = preparation.prepare_detector(source, backend, settings.DETECTORS_DIR)
    with transaction.atomic():
        detector, _ = Detector.objects.update_or_create(
            name=manifest.name,
            version=manifest.version,
            backend=manifest.backend,
            defaults={
                "path": folder.name,
                "sha256": manifest.sha256,
                "task": manifest.task,
                "image_size": manifest.image_size,
                "takes_any_size": checkpoints.takes_any_size(folder, manifest.backend),
                "classes": [manifest.classes[class_id] for class_id in sorted(manifest.classes)],
                "is_active": True,
            },
        )
        if default or Detector.objects.default() is None:
            detector.make_default()
    return detector


def choose_default() -> Detector:
    """The default detector, prepared if there is none yet.

    `MODEL_PATH` decides; unset, the present default stays; without one, published weights are downloaded, and
    if that fails the bundled detector is taken. Raises PreparationError.
    """
    if settings.MODEL_PATH:
        return register(settings.MODEL_PATH, default=True)
    return Detector.objects.default() or register_first_default()


def register_first_default() -> Detector:
    try:
        return register(DOWNLOADED_BY_DEFAULT, default=True)
    except preparation.DownloadError as error:
        logger.warning("%s Until then the bundled detector is the default.", error)
        return register(preparation.BUNDLED, default=True)


class UnknownDetectorError(ValueError):
    """There is no such detector. The text names it and the known ones."""


def find_detectors(text: str) -> DetectorQuerySet:
    """Detectors named NAME, NAME:VERSION, NAME:BACKEND or NAME:VERSION:BACKEND, inactive ones included.

    Raises UnknownDetectorError.
    """
    name, *parts = text.split(":")
    found = Detector.objects.filter(name=name)
    for part in parts:
        found = found.filter(Q(version=part) | Q(backend=part))
    if not found.exists():
        raise unknown_detector(text, Detector.objects.all())
    return found


def find_detector(text: str) -> Detector:
    """The active detector of that name; of several the default, else the newest.

    Raises UnknownDetectorError.
    """
    detector = find_detectors(text).active().order_by("-is_default", "-id").first()
    if detector is None:
        raise unknown_detector(text, Detector.objects.active())
    return detector


def unknown_detector(text: str, known: DetectorQuerySet) -> UnknownDetectorError:
    ordered = known.order_by("name", "version", "backend")
    names = [f"{each.name}:{each.version}:{each.backend}" for each in ordered]
    return UnknownDetectorError(f"There is no detector {text!r}, but {some(names) or 'none at all'}.")
