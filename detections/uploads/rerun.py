"""Looks at the images of a detection again: a new detection, of the same files, with other parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q

from detections import caching
from detections.inference import Options
from detections.jobs.processing import stored_options
from detections.jobs.reprocessing import translated_parameters
from detections.models import (
    Detection,
    DetectionImage,
    DetectionImageQuerySet,
    Detector,
    UnknownClassesError,
)
from detections.publication import moderation
from detections.uploads.intake import Submission, count_refused, insert_rows
from detections.uploads.parameters import UploadError, chosen_detector, chosen_options, too_many_tiles
from objectvision.lib import doorbell, logs

OPTIONS = ("confidence", "iou", "classes", "max_detections", "image_size", "augment", "tile", "overlap")
UNSET: tuple[Any, ...] = (None, "", [])


class NoFilesError(Exception):
    """None of the detection's images has a file. The text is for its owner."""


def wanted_detector(source: Detection, name: str | None) -> Detector:
    """The detector of this name, without one the source's. Raises UploadError."""
    if name:
        return chosen_detector(name)
    if not source.detector.is_active:
        text = f"{source.detector.full_name} is no longer active: name another detector."
        raise UploadError("detector", text, "unknown_detector")
    return source.detector


def wanted_options(source: Detection, detector: Detector, wanted: Mapping[str, Any]) -> Options:
    """Options as wanted, else the source's. Raises UploadError."""
    named = [name for name in OPTIONS if wanted.get(name) not in UNSET]
    chosen = chosen_options(detector, wanted)
    parameters = inherited_parameters(source, detector, named)
    return stored_options({**parameters, **{name: getattr(chosen, name) for name in named}})


def inherited_parameters(source: Detection, detector: Detector, named: Sequence[str]) -> dict[str, Any]:
    """The source's parameters, as far as they are not named, for a detector. Raises UploadError."""
    parameters = {name: value for name, value in source.parameters.items() if name not in named}
    if not detector.takes_any_size:
        parameters["image_size"] = None
    if "classes" in named:
        return parameters
    try:
        return {**parameters, "classes": translated_parameters(source, detector).get("classes")}
    except UnknownClassesError as error:
        text = f"By the classes of the detection that is run again: {error}"
        raise UploadError("classes", text, "unknown_class") from error


def submit_rerun(source: Detection, submission: Submission) -> Detection:
    """A new detection of the source's files; images without a file are left out.

    Raises NoFilesError, UploadError, backlog.TooManyWaiting, Detection.DoesNotExist if the source was deleted
    meanwhile, and User.DoesNotExist if the account was closed.
    """
    originals = source.images.with_a_file().order_by("pk")
    detection = submission.as_detection()
    detection.source = source
    with transaction.atomic():
        locked = lock_sources(detection, originals, reuse=submission.reuse)
        moderation.inherit_refusal(detection, locked)
        images = [original.copied_to(detection) for original in originals]
        refuse_too_many_tiles(images, submission.options)
        originals.share_files()
        insert_rows(detection, images, reuse=submission.reuse, turn=None)
        doorbell.ring_after_commit("detections.process_images")
        caching.drop_after_commit([detection.user_id])
    logs.note(detection_id=detection.pk)
    count_refused(images)
    return detection


def refuse_too_many_tiles(images: Sequence[DetectionImage], options: Options) -> None:
    """Make images failed that the options cut into too many tiles. Raises if that is all of them."""
    if not images:
        raise NoFilesError("The detection has no image with a file.")
    for image in images:
        if reason := too_many_tiles((image.width or 0, image.height or 0), options):
            image.fail("too_many_tiles", reason)
    if all(image.error_code for image in images):
        raise UploadError("tile", images[0].error, "too_many_tiles")


def lock_sources(detection: Detection, originals: DetectionImageQuerySet, *, reuse: bool) -> Detection:
    """Keep the files' detection from being deleted and, in one order, those whose results may be reused.

    Returns the files' detection.
    """
    sources = Q(pk=detection.source_id)
    if reuse:
        alike = DetectionImage.objects.done_alike(detection, originals.order_by().values("sha256"))
        sources |= Q(pk__in=alike.order_by().values("detection"))
    locked = {each.pk: each for each in Detection.objects.filter(sources).lock_all()}
    if detection.source_id not in locked:
        raise Detection.DoesNotExist
    return locked[detection.source_id]
