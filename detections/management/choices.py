"""What commands let an operator choose, checked before anything is done."""

from django.core.management.base import CommandError

from accounts.models import User
from detections import detectors, inference
from detections.models import Detector, DetectorQuerySet, UnknownClassesError


def chosen_detector(name: str | None) -> Detector:
    """By default the default one."""
    if name:
        try:
            return detectors.named(name)
        except detectors.UnknownDetectorError as error:
            raise CommandError(str(error)) from error
    detector = Detector.objects.default()
    if detector is None:
        raise CommandError("No detector is prepared: run manage.py setup first.")
    return detector


def matching_detectors(name: str) -> DetectorQuerySet:
    """Also those that no longer run."""
    try:
        return detectors.matching(name)
    except detectors.UnknownDetectorError as error:
        raise CommandError(str(error)) from error


def chosen_classes(detector: Detector, names: str) -> tuple[int, ...] | None:
    """The ids; None: all of them."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    try:
        return tuple(detector.class_ids(wanted)) if wanted else None
    except UnknownClassesError as error:
        raise CommandError(str(error)) from error


def chosen_user(email: str) -> User:
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        raise CommandError(f"There is no user {email!r}.")
    return user


def load(detector: Detector) -> inference.LoadedDetector:
    try:
        return inference.load(detector.folder, detector.backend)
    except inference.LoadError as error:
        raise CommandError(str(error)) from error
