import pytest

from detections.jobs.processing import process_waiting
from testing.files.pictures import photo

SECRET_NAME, SECRET_FILE = "Holiday at Lake Como", "photo-1.jpg"


@pytest.fixture
def finished(user, submit):
    """A private detection with results."""
    detection = submit(user, photo())
    process_waiting()
    detection.refresh_from_db()
    detection.change(name=SECRET_NAME)
    return detection


@pytest.fixture
def published(finished):
    finished.change(is_public=True, moderation="approved")
    return finished
