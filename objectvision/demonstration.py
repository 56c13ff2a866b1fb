"""What a new user tries first: an account and a photo, named alike by set-up, server and demo."""

from importlib.util import find_spec
from pathlib import Path

EMAIL = "demo@example.com"
PASSWORD = "objectvision-demo"  # noqa: S105  # made in development alone, and shown there


def sample_photo() -> Path:
    """A street scene that comes with ultralytics, found without importing it."""
    package = find_spec("ultralytics")
    if package is None or package.origin is None:
        raise FileNotFoundError("ultralytics, whose sample photo is shown, is not installed.")
    return Path(package.origin).parent / "assets" / "bus.jpg"
