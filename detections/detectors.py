"""Prepared weights become rows that detections run on."""

import logging

from django.conf import settings
from django.db import transaction

from detections import preparing
from detections.models import Detector

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
