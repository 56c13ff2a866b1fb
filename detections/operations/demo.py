"""The demo account and the sample pictures, named alike by setup, serve and demo."""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from detections.detectors.preparation import BUNDLED_FOLDER

EMAIL = "demo@example.com"
PASSWORD = "objectvision-demo"  # noqa: S105  # only for development, and shown there


def samples(classes: Collection[str]) -> list[Path]:
    """Sample pictures that show objects of these classes."""
    return sample_scenes() if "qr_code" in classes else [sample_photo()]


def sample_scenes() -> list[Path]:
    """Rendered scenes with codes, for the bundled detector."""
    return sorted((BUNDLED_FOLDER / "samples").glob("*.jpg"))


def sample_photo() -> Path:
    """The street scene that comes with ultralytics."""
    photo = sample_photo_if_installed()
    if photo is None:
        raise FileNotFoundError("ultralytics, whose sample photo is shown, is not installed.")
    return photo


def sample_photo_if_installed() -> Path | None:
    """Found without importing ultralytics."""
    package = find_spec("ultralytics")
    return Path(package.origin).parent / "assets" / "bus.jpg" if package and package.origin else None
