"""A ZIP of pictures, read without believing it: entries, sizes and ratios are bounded, names only shown."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
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
TOO_MANY = f"The archive has too many entries; at most {MOST_ENTRIES} are allowed."
HEADER = 30  # what is before an entry's name and content, at least
# What zipfile lets through of broken files, beside its own.
DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, OSError, EOFError, ValueError,
    RuntimeError, LookupError, OverflowError,
)  # fmt: skip  # a list to read at a glance


def bad(reason: str) -> ValidationError:
    return ValidationError(reason, code=BAD_ARCHIVE)


class UploadedZip:
    """An upload that has passed the checks below. Raises ValidationError with the code `bad_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            check_directory(file)
            self._zip = zipfile.ZipFile(file)
            self.entries = [entry for entry in self._zip.infolist() if is_wanted(entry)]
        except DAMAGED as error:
            raise bad("This is no ZIP archive, or a damaged one.") from error
        check_entries(self._zip.infolist(), self.entries)

    def files(self) -> Iterator["File[bytes] | str"]:
        """Every entry's content under its name, one at a time: the next one closes the one before it. Of one
        that is damaged the name alone.

        Of an entry that is too large for an image there is just enough to see that.
        """
        for entry in self.entries:
            with SpooledTemporaryFile(IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR)) as content:
                try:
                    self._copy(entry, content)
                except DAMAGED:
                    yield entry.filename
                else:
                    yield File(content, entry.filename)

    def _copy(self, entry: zipfile.ZipInfo, target: IO[bytes]) -> None:
        left = settings.MAX_UPLOAD_MB * MEGABYTE + 1
        with self._zip.open(entry) as source:
            while left > 0 and (block := source.read(min(left, 1 << 16))):
                target.write(block)
                left -= len(block)


def check_directory(file: IO[bytes]) -> None:
    """Before all of it is read into memory: what the end of the file says about its length."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # noqa: SLF001  # what ZipFile itself goes by
    if end and end[zipfile._ECD_SIZE] > MOST_DIRECTORY_BYTES:  # type: ignore[attr-defined]  # noqa: SLF001  # as above
        raise bad(TOO_MANY)


def is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Neither a folder nor what operating systems add by themselves."""
    parts = PurePosixPath(entry.filename).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return not entry.is_dir() and not hidden and parts[:1] != ("__MACOSX",)


def check_entries(every: list[zipfile.ZipInfo], wanted: list[zipfile.ZipInfo]) -> None:
    if len(every) > MOST_ENTRIES:  # its end may say another number
        raise bad(TOO_MANY)
    if not wanted:
        raise bad("The archive is empty.")
    for entry in wanted:
        check_entry(entry)
    in_place = sorted(every, key=lambda entry: entry.header_offset)
    for entry, behind in pairwise(in_place):  # the same bytes for many entries would unpack to any size
        if entry.header_offset + HEADER + entry.compress_size > behind.header_offset:
            raise bad("Entries of the archive lie upon each other.")
    most = 2 * settings.MAX_REQUEST_MB
    if sum(entry.file_size for entry in wanted) > most * MEGABYTE:
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
