"""What a new user tries first: an account and a picture, named alike by set-up, server and demo."""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from detections.preparing import BUNDLED_FOLDER

EMAIL = "demo@example.com"
PASSWORD = "objectvision-demo"  # noqa: S105  # made in development alone, and shown there


def samples(classes: Collection[str]) -> list[Path]:
    """Pictures in which a detector with these classes finds something."""
    return sample_scenes() if "qr_code" in classes else [sample_photo()]


def sample_scenes() -> list[Path]:
    """With codes, rendered for this project."""
    return sorted((BUNDLED_FOLDER / "samples").glob("*.jpg"))


def sample_photo() -> Path:
    """A street scene that comes with ultralytics, found without importing it."""
    package = find_spec("ultralytics")
    if package is None or package.origin is None:
        raise FileNotFoundError("ultralytics, whose sample photo is shown, is not installed.")
    return Path(package.origin).parent / "assets" / "bus.jpg"
