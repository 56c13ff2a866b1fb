"""Prepared weights become rows that detections run on."""

import logging

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from detections import preparing
from detections.models import Detector, DetectorQuerySet, some

logger = logging.getLogger(__name__)

DOWNLOADED_BY_DEFAULT = "yolo26n.pt"


def register(source: str, *, backend: str = "auto", default: bool = False) -> Detector:
    """Prepare what `source` names and make or find its row. The first detector is the default in any case.

    Raises PreparationError.
    """
    folder, manifest = preparing.prepare(source, backend, settings.DETECTORS_DIR)
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
                "classes": [manifest.classes[class_id] for class_id in sorted(manifest.classes)],
                "is_active": True,
            },
        )
        if default or Detector.objects.default() is None:
            detector.make_default()
    return detector


def choose_default() -> Detector:
    """What `MODEL_PATH` names; unset, the default there is; with none, one that can be downloaded, else the
    bundled one.

    Raises PreparationError.
    """
    if settings.MODEL_PATH:
        return register(settings.MODEL_PATH, default=True)
    return Detector.objects.default() or register_first()


def register_first() -> Detector:
    try:
        return register(DOWNLOADED_BY_DEFAULT, default=True)
    except preparing.DownloadError as error:
        logger.warning("%s Until then the bundled detector is the default.", error)
        return register(preparing.BUNDLED, default=True)


class UnknownDetectorError(ValueError):
    """A detector that is not there. The text names it and those that are."""


def matching(text: str) -> DetectorQuerySet:
    """Those of this name, which may be followed by `:VERSION`, `:BACKEND` or both.

    Raises UnknownDetectorError.
    """
    name, *parts = text.split(":")
    found = Detector.objects.filter(name=name)
    for part in parts:
        found = found.filter(Q(version=part) | Q(backend=part))
    if not found.exists():
        raise unknown(text, Detector.objects.all())
    return found


def named(text: str) -> Detector:
    """The active one of those; of several the default one, else the newest. Raises UnknownDetectorError."""
    detector = matching(text).active().order_by("-is_default", "-id").first()
    if detector is None:
        raise unknown(text, Detector.objects.active())
    return detector


def unknown(text: str, among: DetectorQuerySet) -> UnknownDetectorError:
    known = among.order_by("name", "version", "backend")
    names = [f"{each.name}:{each.version}:{each.backend}" for each in known]
    return UnknownDetectorError(f"There is no detector {text!r}, but {some(names) or 'none at all'}.")
