"""Settings whose storage hangs on each save while the data folder has a folder `hang`."""

import time
from uuid import uuid4

from django.core.files.storage import FileSystemStorage

from objectvision.settings import *  # noqa: F403  # all of them, but for the storage
from objectvision.settings import DATA_DIR, STORAGES

HANG = DATA_DIR / "hang"


class HangingStorage(FileSystemStorage):
    def _save(self, name, content):
        if HANG.is_dir():
            (HANG / uuid4().hex).touch()  # for the test to count
        while HANG.is_dir():
            time.sleep(0.02)
        return super()._save(name, content)


STORAGES["default"]["BACKEND"] = f"{__name__}.HangingStorage"
