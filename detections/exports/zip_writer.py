"""Writes ZIP archives of any number of files in little memory.

`zipfile` keeps half a kilobyte for every file until the archive is closed, which is more than an export of
many images may take. Here the directory waits in a temporary file.
"""

import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import IO, Protocol, Self

from detections.storage import temporary_file

BLOCK = 1 << 16

_VERSION = 45  # ZIP64
_FLAGS = 0x808  # names in UTF-8; checksum and sizes follow a file's content
_DEFLATED = 8
_NEW_YEAR_1980 = 0x21  # the lowest date: the same files give the same archive
_READABLE = 0o100644 << 16
_MOST, _LONGEST = 0xFFFF, 0xFFFFFFFF


def _common(checksum: int, packed: int, size: int, raw_name: bytes) -> bytes:
    """The fields that both kinds of header share."""
    about = _VERSION, _FLAGS, _DEFLATED, 0, _NEW_YEAR_1980
    return struct.pack("<5H3LH", *about, checksum, packed, size, len(raw_name))


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...
    def tell(self) -> int: ...


class Archive:
    """Writes an archive into an empty file. Each file in it may have up to 4 GB."""

    def __init__(self, file: Sink) -> None:
        self.file = file
        self.directory = temporary_file()
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.directory:
            if error is None:
                self.close()

    def add(self, name: str, content: bytes) -> None:
        for _ in self.adding(name, [content]):
            pass

    def add_file(self, name: str, file: IO[bytes]) -> None:
        """Add the whole content of a file."""
        file.seek(0)
        for _ in self.adding(name, iter(partial(file.read, BLOCK), b"")):
            pass

    def adding(self, name: str, pieces: Iterable[bytes], level: int = 6) -> Iterator[None]:
        """Add a file in pieces. Yields after each, so that the caller can send the bytes written so far.

        `level` 0 is for content that is compressed already.
        """
        raw_name, offset = name.encode(), self.file.tell()
        self.file.write(b"PK\3\4" + _common(0, 0, 0, raw_name) + struct.pack("<H", 0) + raw_name)
        compressor = zlib.compressobj(level=level, wbits=-zlib.MAX_WBITS)
        checksum = packed = size = 0
        for piece in pieces:
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
            packed += self.write(compressor.compress(piece))
            yield
        packed += self.write(compressor.flush())
        self.file.write(struct.pack("<4s3L", b"PK\7\x08", checksum, packed, size))
        self.list(raw_name, offset, _common(checksum, packed, size, raw_name))
        yield

    def write(self, data: bytes) -> int:
        self.file.write(data)
        return len(data)

    def list(self, raw_name: bytes, offset: int, common: bytes) -> None:
        large = struct.pack("<2HQ", 1, 8, offset) if offset >= _LONGEST else b""
        self.directory.write(
            struct.pack("<4s2B", b"PK\1\2", _VERSION, 3)
            + common
            + struct.pack("<4H2L", len(large), 0, 0, 0, _READABLE, min(offset, _LONGEST))
            + raw_name
            + large
        )
        if not self.count:
            self.directory.flush()  # a full disk fails at the beginning
        self.count += 1

    def close(self) -> None:
        offset, length = self.file.tell(), self.directory.tell()
        self.directory.seek(0)
        shutil.copyfileobj(self.directory, self.file)
        if self.count >= _MOST or offset + length >= _LONGEST:
            self.close_large(offset, length)
        count = min(self.count, _MOST)
        bounds = min(length, _LONGEST), min(offset, _LONGEST)
        self.file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, *bounds, 0))

    def close_large(self, offset: int, length: int) -> None:
        """Write the end records of ZIP64, since the usual record has no room for such numbers."""
        end = self.file.tell()
        self.file.write(
            struct.pack("<4sQ2H2L", b"PK\6\6", 44, _VERSION, _VERSION, 0, 0)
            + struct.pack("<4Q", self.count, self.count, length, offset)
            + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        )
