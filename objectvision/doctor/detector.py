"""The default detector: its files, whether it loads, and whether it finds what it should."""

import time

from detections import inference
from detections.detectors.preparation import BUNDLED, PreparationError, weight_files
from detections.inference import checkpoints
from detections.models import Detector
from detections.operations import known_pictures
from objectvision.doctor.findings import Finding, error, ok, warning

NONE_HINT = "Run manage.py setup, or manage.py prepare_detector NAME_OR_PATH --default."


def check_detector() -> Finding:
    default = Detector.objects.default()
    if default is None:
        return error("no detector is prepared", NONE_HINT)
    if missing := missing_file(default):
        return error(f"{default}: {missing}", remedy(default))
    begun = time.monotonic()
    try:
        loaded = inference.load_detector(default.folder, default.backend)
    except inference.LoadError as reason:
        return error(f"{default}: {reason}", remedy(default))
    return judge(default, loaded, time.monotonic() - begun)


def missing_file(detector: Detector) -> str:
    """A sentence that names it; empty if all files are there."""
    if not detector.folder.is_dir():
        return f"{detector.folder} is missing."
    try:
        weight_files(checkpoints.find_weights(detector.folder))
    except PreparationError as reason:
        return str(reason)
    except inference.ModelError as reason:
        return f"{detector.folder}: {reason}."
    return ""


def judge(detector: Detector, loaded: inference.LoadedDetector, seconds: float) -> Finding:
    score = known_pictures.score(loaded)
    found = f"{detector}, loaded in {seconds:.1f} s"
    if not score.known:
        return ok(f"{found}; no picture with objects of its classes is known")
    found = f"{found}; finds {score.found} of {score.known} known objects"
    if score.found == score.known:
        return ok(found)
    return warning(found, remedy(detector)) if score.found else error(found, remedy(detector))


def remedy(detector: Detector) -> str:
    source = BUNDLED if detector.name == BUNDLED else "NAME_OR_PATH"
    prepare = f"manage.py prepare_detector {source} --default, and restart the inference workers"
    # What is there is kept: a preparation takes the folder for one that was made before.
    return f"Remove {detector.folder} if it is there, then run {prepare}."
