"""Reads an uploaded ZIP of pictures. Entries, sizes and ratios are bounded; names are only shown."""

import errno
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from itertools import pairwise
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File

MEGABYTE = 1 << 20
MOST_ENTRIES = 1000
# Unpacked bytes to the archive's length. Blank pages and black nights are compressed to a thousandth: an
# archive may have any number of them as long as it unpacks to little.
HIGHEST_RATIO, SMALL = 100, 50 * MEGABYTE
MOST_DIRECTORY_BYTES = MOST_ENTRIES * 1024
ENCRYPTED, PATCHED, UTF_8 = 0x1, 0x20, 0x800  # flags of an entry
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# Of names without the flag: the first two fit hardly by chance, the last is the format's own and always fits.
ENCODINGS = ("utf-8", "gb2312", "cp437")
DRIVES = re.compile(r"\A([A-Za-z]:)+")
LONG_PATH = "//?/"  # Windows' prefix of paths that may be long
ADDED = frozenset({"thumbs.db", "desktop.ini"})  # by Windows, to folders
IN_MEMORY = 5 * MEGABYTE // 2

BAD_ARCHIVE = "bad_archive"
TOO_MANY = f"The archive has too many entries; at most {MOST_ENTRIES} are allowed."
HEADER = 30  # bytes before an entry's name and content, at least
# An entry of the directory, as APPNOTE.TXT 4.3.12 has it; its name, extra field and comment follow.
ENTRY, ENTRY_SIGNATURE = struct.Struct("<4s6H3L5H2L"), b"PK\x01\x02"
VERSION, FLAGS, SIZES, LENGTHS = 2, 3, slice(8, 10), slice(10, 13)  # fields of an entry
OLDEST_VERSION = 20
EXTRA = struct.Struct("<2H")  # begins a part of an extra field: its kind and its length
# The records behind the directory, as APPNOTE.TXT 4.3.14 to 4.3.16 has them; each begins with its signature.
END, END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
LONGEST_COMMENT = 1 << 16
LOCATOR, LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\x06\x07"
ZIP64_END, ZIP64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\x06\x06"
# Exceptions that zipfile raises for damaged files.
FAULTS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, OSError, EOFError, ValueError,
    RuntimeError, LookupError, OverflowError,
)  # fmt: skip  # a list to read at a glance
# Error numbers of reads at an impossible offset. Any other one means that our disk or file failed.
ERRNOS_OF_DAMAGE = frozenset({None, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class RefusedUpload:
    """A file of a batch that is not taken: its image fails, and the others go on."""

    name: str
    code: str
    reason: str


class DamagedError(Exception):
    """The archive or one of its entries is damaged."""


@contextmanager
def reading() -> Iterator[None]:
    """Turn what zipfile raises for a damaged file into DamagedError."""
    try:
        yield
    except FAULTS as error:
        if isinstance(error, OSError) and error.errno not in ERRNOS_OF_DAMAGE:
            raise
        raise DamagedError from error


def refusal(reason: str) -> ValidationError:
    return ValidationError(reason, code=BAD_ARCHIVE)


class CheckedFile:
    """Calls `check` before every read, as unpacking may go on for long without a result.

    Reads find `repairs`, bytes by their offsets, in the place of what the file has.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.check: Callable[[], None] = lambda: None
        self.repairs: dict[int, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, count: int = -1) -> bytes:
        self.check()
        offset = self.file.tell()
        data = self.file.read(count)
        for place, repair in self.repairs.items():
            first, last = max(place, offset), min(place + len(repair), offset + len(data))
            if first < last:
                new = repair[first - place : last - place]
                data = data[: first - offset] + new + data[last - offset :]
        return data


class UploadedZip:
    """A ZIP that has passed the checks below. Raises ValidationError with the code `bad_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = CheckedFile(file)
        seen = cast("IO[bytes]", self._file)  # zipfile reads the same repaired bytes as the checks
        try:
            with reading():
                self._file.repairs |= blank_comment(seen)
                self._file.repairs |= check_directory(seen)
                self._zip = zipfile.ZipFile(seen)
        except DamagedError as error:
            raise refusal("This is no ZIP archive, or a damaged one.") from error
        self.entries = [entry for entry in self._zip.infolist() if is_wanted(entry)]
        check_entries(self._zip.infolist(), self.entries)
        check_totals(self.entries, file.seek(0, SEEK_END))

    def files(self, check: Callable[[], None]) -> Iterator["File[bytes] | RefusedUpload"]:
        """Every entry as a file, each closed by the next, or why it is refused.

        An entry that is too large for an image is cut off behind the limit. `check` is called before every
        read and may raise to end the iteration.
        """
        self._file.check = check
        for entry in self.entries:
            name = shown_name(entry)
            if reason := unreadable(entry):
                yield RefusedUpload(name, BAD_ARCHIVE, reason)
                continue
            with SpooledTemporaryFile(IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR)) as content:
                try:
                    for block in self._blocks(entry):
                        content.write(block)
                except DamagedError:
                    yield RefusedUpload(name, "corrupt_image", "Its entry in the archive is damaged.")
                else:
                    yield File(content, name)

    def _blocks(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        left = most_bytes_read()
        with reading(), self._zip.open(entry) as source:
            while left > 0 and (block := source.read(min(left, 1 << 16))):
                yield block
                left -= len(block)


def blank_comment(file: IO[bytes]) -> dict[int, bytes]:
    """A repair without the archive's comment: zipfile would take a signature in it for the end record."""
    start, tail = read_tail(file)
    found = len(tail)
    while (found := tail.rfind(END_SIGNATURE, 0, found)) >= 0:
        comment = len(tail) - found - END.size
        if comment >= 0 and END.unpack_from(tail, found)[7] == comment:
            return {start + found + END.size: bytes(comment)}
    return {}


def check_directory(file: IO[bytes]) -> dict[int, bytes]:
    """Bound the directory before zipfile makes an object of each entry; repairs of its odd entries.

    Raises ValidationError, DamagedError.
    """
    repairs = {}
    for end, length in find_directories(file):
        if length > end:
            raise DamagedError
        if length > MOST_DIRECTORY_BYTES:
            raise refusal(TOO_MANY)
        directory = read_at(file, end - length, length)
        if directory.count(ENTRY_SIGNATURE) > MOST_ENTRIES:
            raise refusal(TOO_MANY)
        repairs[end - length] = repaired(directory)
    return repairs


def repaired(directory: bytes) -> bytes:
    """As long as before. Entries that zipfile takes for damage of the whole archive fail alone."""
    entries = bytearray(directory)
    start = 0
    while len(directory) - start >= ENTRY.size and directory.startswith(ENTRY_SIGNATURE, start):
        end = start + ENTRY.size + sum(ENTRY.unpack_from(directory, start)[LENGTHS])
        if end <= len(directory) and not is_known(directory[start:end]):
            entries[start:end] = closed(directory[start:end])
        start = end
    return bytes(entries)


def is_known(entry: bytes) -> bool:
    """Whether zipfile opens an archive with this entry in its directory."""
    end = END.pack(END_SIGNATURE, 0, 0, 1, 1, len(entry), 0, 0)
    try:
        with reading():
            zipfile.ZipFile(BytesIO(entry + end)).close()
    except DamagedError:
        return False
    return True


def closed(entry: bytes) -> bytes:
    """The same entry as one that zipfile lists and never unpacks: a patch to a file elsewhere, of no size."""
    fields = list(ENTRY.unpack_from(entry))
    fields[VERSION], fields[FLAGS], fields[SIZES] = OLDEST_VERSION, PATCHED, (0, 0)
    name_length, extra_length, _ = fields[LENGTHS]
    data = bytearray(entry)
    ENTRY.pack_into(data, 0, *fields)
    if extra_length >= EXTRA.size:
        EXTRA.pack_into(data, ENTRY.size + name_length, 0, extra_length - EXTRA.size)
    return bytes(data)


def find_directories(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """The end and the length of the directory, once for each record that a version of zipfile may go by."""
    place = find_end(file)
    if place is None:
        return
    length = END.unpack(read_at(file, place, END.size))[5]
    zip64_lengths = dict(find_zip64_ends(file, place))
    beside = place - LOCATOR.size - ZIP64_END.size
    if beside not in zip64_lengths:
        yield place, length
    yield from zip64_lengths.items()


def find_end(file: IO[bytes]) -> int | None:
    """The offset of the end record: the file's last bytes, or the last signature before a comment."""
    start, tail = read_tail(file)
    last = tail[-END.size :]
    if len(last) == END.size and last.startswith(END_SIGNATURE) and last.endswith(b"\0\0"):
        return start + len(tail) - END.size
    found = tail.rfind(END_SIGNATURE)
    return start + found if 0 <= found <= len(tail) - END.size else None


def read_tail(file: IO[bytes]) -> tuple[int, bytes]:
    """What may hold the end record and the archive's comment, and where it begins."""
    size = file.seek(0, SEEK_END)
    start = max(0, size - LONGEST_COMMENT - END.size)
    return start, read_at(file, start, size - start)


def find_zip64_ends(file: IO[bytes], end: int) -> Iterator[tuple[int, int]]:
    """The offsets of the ZIP64 records that a locator before the end record names, and their lengths.

    A record lies where the locator says; some readers look for it right before the locator.
    """
    if end < LOCATOR.size:
        return
    beside = end - LOCATOR.size - ZIP64_END.size
    signature, _, offset, _ = LOCATOR.unpack(read_at(file, end - LOCATOR.size, LOCATOR.size))
    if signature != LOCATOR_SIGNATURE:
        return
    for place in {offset, beside}:
        if 0 <= place <= beside:
            record = ZIP64_END.unpack(read_at(file, place, ZIP64_END.size))
            if record[0] == ZIP64_SIGNATURE:
                yield place, record[8]


def read_at(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def most_bytes_read() -> int:
    """Of one entry: one more than an image may have."""
    return settings.MAX_UPLOAD_MB * MEGABYTE + 1


def is_wanted(entry: zipfile.ZipInfo) -> bool:
    """Whether the entry is neither a folder nor a file that operating systems add."""
    parts = path_of(entry)
    hidden = any(part.startswith(".") for part in parts)
    is_added = parts[:1] == ["__MACOSX"] or (parts and parts[-1].lower() in ADDED)
    is_folder = entry.filename.endswith(("/", "\\"))
    return not (is_folder or hidden or is_added)


def path_of(entry: zipfile.ZipInfo) -> list[str]:
    """The parts of its name, none of which leads out of the archive."""
    path = name_of(entry).replace("\\", "/").removeprefix(LONG_PATH)
    parts = [DRIVES.sub("", part) for part in path.split("/")]
    return [part for part in parts if part not in {"", ".", ".."}]


def name_of(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & UTF_8:
        return entry.filename
    raw = entry.filename.encode("cp437")  # as zipfile has decoded it
    for encoding in ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def shown_name(entry: zipfile.ZipInfo) -> str:
    """A name to be shown: never a path in a file system."""
    return "".join(filter(str.isprintable, "/".join(path_of(entry)))) or "unnamed"


def unreadable(entry: zipfile.ZipInfo) -> str:
    """Why the entry cannot be unpacked; empty if it can."""
    if entry.flag_bits & ENCRYPTED:
        return "Its entry in the archive is encrypted."
    if entry.compress_type not in METHODS:
        return "Its entry in the archive is compressed by a method other than deflate."
    return ""


def check_entries(every: list[zipfile.ZipInfo], wanted: list[zipfile.ZipInfo]) -> None:
    if len(every) > MOST_ENTRIES:  # the end record may give another number
        raise refusal(TOO_MANY)
    if not wanted:
        raise refusal("The archive is empty.")
    in_place = sorted(every, key=lambda entry: entry.header_offset)
    for entry, behind in pairwise(in_place):  # the same bytes for many entries would unpack to any size
        if entry.header_offset + HEADER + entry.compress_size > behind.header_offset:
            raise refusal("Entries of the archive lie upon each other.")


def check_totals(wanted: list[zipfile.ZipInfo], length: int) -> None:
    most = 2 * settings.MAX_REQUEST_MB
    if sum(min(entry.file_size, most_bytes_read()) for entry in wanted) > most * MEGABYTE:
        raise refusal(f"The archive is larger than {most} MB unpacked.")
    if sum(entry.file_size for entry in wanted) > max(SMALL, HIGHEST_RATIO * length):
        raise refusal(f"The archive unpacks to more than {HIGHEST_RATIO} times its size.")
