"""A ZIP of pictures, read without believing it: entries, sizes and ratios are bounded, names only shown."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File

MEGABYTE = 1 << 20
MOST_ENTRIES = 1000
# Of an entry's size to its compressed size. Pictures are compressed already; a bomb is not one.
HIGHEST_RATIO = 100
MOST_DIRECTORY_BYTES = MOST_ENTRIES * 1024
ENCRYPTED = 0x1
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What a name may not do: leave its folder, begin at a root or a drive, hide what it is.
ESCAPES = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:|[\x00-\x1f]")
IN_MEMORY = 5 * MEGABYTE // 2

BAD_ARCHIVE = "bad_archive"
DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError, NotImplementedError)


def bad(reason: str) -> ValidationError:
    return ValidationError(reason, code=BAD_ARCHIVE)


class Archive:
    """An upload that has passed the checks below. Raises ValidationError with the code `bad_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        check_directory(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except DAMAGED as error:
            raise bad("This is no ZIP archive, or a damaged one.") from error
        self.entries = [entry for entry in self._zip.infolist() if is_wanted(entry)]
        check_entries(self.entries)

    def files(self) -> Iterator["File[bytes]"]:
        """Every entry's content under its name, one at a time; the next one closes the one before it.

        Of an entry that is too large for an image there is just enough to see that.
        """
        for entry in self.entries:
            with SpooledTemporaryFile(IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR)) as content:
                self._copy(entry, content)
                yield File(content, entry.filename)

    def _copy(self, entry: zipfile.ZipInfo, target: IO[bytes]) -> None:
        left = settings.MAX_UPLOAD_MB * MEGABYTE + 1
        try:
            with self._zip.open(entry) as source:
                while left > 0 and (block := source.read(min(left, 1 << 16))):
                    target.write(block)
                    left -= len(block)
        except (*DAMAGED, RuntimeError) as error:  # zlib's error is not theirs
            raise bad(f"{entry.filename} in the archive is damaged.") from error


def check_directory(file: IO[bytes]) -> None:
    """Before all of it is read into memory: what the end of the file says about its length."""
    try:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # noqa: SLF001  # what ZipFile itself goes by
    except DAMAGED as error:
        raise bad("This is no ZIP archive, or a damaged one.") from error
    if not end:
        raise bad("This is no ZIP archive, or a damaged one.")
    if end[zipfile._ECD_ENTRIES_TOTAL] > MOST_ENTRIES or end[zipfile._ECD_SIZE] > MOST_DIRECTORY_BYTES:  # type: ignore[attr-defined]  # noqa: SLF001  # as above
        raise bad(f"The archive has too many entries; at most {MOST_ENTRIES} are allowed.")


def is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Neither a folder nor what operating systems add by themselves."""
    parts = PurePosixPath(entry.filename).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return not entry.is_dir() and not hidden and parts[:1] != ("__MACOSX",)


def check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if not entries:
        raise bad("The archive is empty.")
    for entry in entries:
        check_entry(entry)
    most = 2 * settings.MAX_REQUEST_MB
    if sum(entry.file_size for entry in entries) > most * MEGABYTE:
        raise bad(f"The archive is larger than {most} MB unpacked.")


def check_entry(entry: zipfile.ZipInfo) -> None:
    if ESCAPES.search(entry.filename):
        raise bad("A name in the archive leads out of it.")
    if entry.flag_bits & ENCRYPTED:
        raise bad("The archive is encrypted.")
    if entry.compress_type not in METHODS:
        raise bad("The archive is compressed by a method other than deflate.")
    if entry.file_size > HIGHEST_RATIO * max(entry.compress_size, 1):
        raise bad(f"The archive unpacks to more than {HIGHEST_RATIO} times its size.")
