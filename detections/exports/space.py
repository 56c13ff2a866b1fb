"""How much an export with pictures may take of the disk."""

import shutil
from functools import cached_property
from typing import IO

from django.conf import settings
from django.db.models import Sum

from detections.models import Export

MEGABYTE = 1 << 20
LEAST_FREE = 1 << 30  # bytes, for uploads: below it, `manage.py doctor` sees an error


class NoSpaceError(Exception):
    """The export takes more than there is for it. The text is for its owner."""


class Space:
    """The space that an export may still take, if it is written into this file."""

    def __init__(self, export: Export, file: IO[bytes]) -> None:
        self.export = export
        self.file = file

    @cached_property
    def most(self) -> int:
        """Bytes of the file."""
        kept = Export.objects.owned_by(self.export.user).aggregate(bytes=Sum("size", default=0))["bytes"]
        return int(settings.MAX_EXPORT_MB * MEGABYTE - kept)

    def check(self, length: int) -> None:
        """Raises NoSpaceError if there is no place for so many bytes more."""
        size = self.file.tell() + length
        if size > self.most:
            raise NoSpaceError(
                f"A user's exports take at most {settings.MAX_EXPORT_MB:,} MB (MAX_EXPORT_MB) together, and "
                "this one takes more than is left. Choose fewer detections, or wait until others expire."
            )
        free = shutil.disk_usage(settings.FILE_UPLOAD_TEMP_DIR).free - length
        if free - size < LEAST_FREE:  # it is stored as a copy
            raise NoSpaceError(
                "The server's disk has no place for these pictures. Choose fewer detections, or try later."
            )
