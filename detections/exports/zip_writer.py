"""Writes ZIP archives of any number of files in little memory.

`zipfile` keeps half a kilobyte for every file until the archive is closed, which is more than an export of
many images may take. Here the directory waits in a temporary file.
"""

import shutil
import struct
import tempfile
import zlib
from types import TracebackType
from typing import IO, Protocol, Self

from django.conf import settings

_VERSION = 45  # ZIP64
_UTF_8 = 0x800
_DEFLATED = 8
_NEW_YEAR_1980 = 0x21  # the least date there is: two archives of the same are the same
_READABLE = 0o100644 << 16
_MOST, _LONGEST = 0xFFFF, 0xFFFFFFFF
# Both kinds of header begin with these: version, flags, method, time, date, checksum, sizes, lengths.
_COMMON = struct.Struct("<5H3L2H")


def temporary_file() -> IO[bytes]:
    """Gone when it is closed, however this process ends."""
    return tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # the caller's to close


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...
    def tell(self) -> int: ...


class Archive:
    """Writes to an empty file from its beginning. A file in it may have up to 4 GB."""

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

    def add(self, name: str, content: bytes, level: int = 6) -> None:
        """`level` 0 packs nothing: for what is packed already."""
        compressor = zlib.compressobj(level=level, wbits=-zlib.MAX_WBITS)
        packed = compressor.compress(content) + compressor.flush()
        raw_name = name.encode()
        offset = self.file.tell()
        large = struct.pack("<2HQ", 1, 8, offset) if offset >= _LONGEST else b""
        sizes = zlib.crc32(content), len(packed), len(content), len(raw_name)
        about = (_VERSION, _UTF_8, _DEFLATED, 0, _NEW_YEAR_1980, *sizes)
        self.file.write(b"PK\3\4" + _COMMON.pack(*about, 0) + raw_name + packed)
        self.directory.write(
            struct.pack("<4s2B", b"PK\1\2", _VERSION, 3)
            + _COMMON.pack(*about, len(large))
            + struct.pack("<3H2L", 0, 0, 0, _READABLE, min(offset, _LONGEST))
            + raw_name
            + large
        )
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
        """ZIP64's end, before the one that everybody knows, in which such numbers have no place."""
        end = self.file.tell()
        self.file.write(
            struct.pack("<4sQ2H2L", b"PK\6\6", 44, _VERSION, _VERSION, 0, 0)
            + struct.pack("<4Q", self.count, self.count, length, offset)
            + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        )
