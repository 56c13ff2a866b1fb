"""Detector, options and user by a command's options, checked before the command starts to work."""

from typing import Any

from django.core.management.base import CommandError

from accounts.models import User
from detections import inference
from detections.detectors import registry
from detections.models import Detector, DetectorQuerySet
from detections.uploads import parameters
from objectvision.lib.addresses import as_stored


def chosen_detector(name: str | None) -> Detector:
    """The detector of this name, without one the default. Raises CommandError."""
    try:
        return parameters.chosen_detector(name)
    except parameters.UploadError as error:
        raise CommandError(str(error)) from error
    except parameters.NoDetectorError as error:
        raise CommandError("No detector is prepared: run manage.py setup first.") from error


def matching_detectors(name: str) -> DetectorQuerySet:
    """Detectors of this name, inactive ones included. Raises CommandError."""
    try:
        return registry.find_detectors(name)
    except registry.UnknownDetectorError as error:
        raise CommandError(str(error)) from error


def chosen_options(detector: Detector, **wanted: Any) -> inference.Options:
    """Options by what the operator wants, else by the environment. Raises CommandError."""
    try:
        return parameters.chosen_options(detector, wanted)
    except parameters.UploadError as error:
        raise CommandError(str(error)) from error


def chosen_user(email: str) -> User:
    """Raises CommandError."""
    user = User.objects.filter(email=as_stored(email)).first()
    if user is None:
        raise CommandError(f"There is no user {email!r}.")
    return user


def loaded_detector(detector: Detector) -> inference.LoadedDetector:
    """Raises CommandError."""
    try:
        return inference.load_detector(detector.folder, detector.backend)
    except inference.LoadError as error:
        raise CommandError(str(error)) from error
