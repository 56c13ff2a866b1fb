"""The bytes of a form and the files in it, which are slices of them: nothing is copied."""

import os
import weakref
from functools import partial
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings
from typing_extensions import override

CHUNK = 256 << 10  # that is searched at a time
BLOCK = 64 << 10  # least of a large file that is read at a time
MOST_WHOLE = 1 << 20  # of a file that is read at once


class Content:
    """The bytes of a form, which stay after their stream is closed. Used by one thread at a time.

    One block is in memory: all of a short form, else what was read last.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        spool = getattr(stream, "_stream", stream)  # of a request
        self.block_begin = 0
        if isinstance(spool, SpooledTemporaryFile) and (length := length_of(spool)) > in_memory():
            self.length, self.block = length, b""
            self.descriptor = os.dup(spool.fileno())
            weakref.finalize(self, os.close, self.descriptor)
        else:
            self.block = b"".join(iter(partial(stream.read, CHUNK), b""))
            self.length = len(self.block)

    @property
    def block_end(self) -> int:
        return self.block_begin + len(self.block)

    def load(self, begin: int, end: int, until: int) -> int:
        """Have the block hold the bytes from `begin` to `end`, if possible; the index of `begin` in it.

        What is not in memory is read from the disk, up to `until` if that is more.
        """
        if begin < self.block_begin or min(end, self.length) > self.block_end:
            self.block = os.pread(self.descriptor, max(end, until) - begin, begin)
            self.block_begin = begin
        return begin - self.block_begin

    def read(self, begin: int, end: int) -> bytes:
        first = self.load(begin, end, begin + CHUNK)
        return self.block[first : first + end - begin]

    def find(self, wanted: bytes, begin: int) -> int:
        """Where it is found first, at or behind `begin`; -1 if nowhere."""
        while begin + len(wanted) <= self.length:
            first = self.load(begin, begin + len(wanted), begin + CHUNK)
            if (found := self.block.find(wanted, first)) >= 0:
                return self.block_begin + found
            begin = self.block_end - len(wanted) + 1
        return -1


def length_of(file: IO[bytes]) -> int:
    at = file.tell()
    length = file.seek(0, SEEK_END)
    file.seek(at)
    return length


def in_memory() -> int:
    """A body of more bytes is on the disk. To ask for its descriptor would put any body there."""
    return settings.FILE_UPLOAD_MAX_MEMORY_SIZE


class Slice(RawIOBase):
    """A part of a form's content as a file."""

    def __init__(self, content: Content, begin: int, end: int) -> None:
        self.content: Content | None = content
        self.begin, self.end, self.at = begin, end, begin
        self.is_short = end - begin <= MOST_WHOLE

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if self.content is None:
            raise ValueError("The file is closed.")
        begin, end = self.at, self.end
        if size is not None and size >= 0:
            end = min(end, begin + size)
        if begin >= end:
            return b""
        if self.is_short:
            self.content.load(self.begin, self.end, self.end)
        else:
            self.content.load(begin, end, min(self.end, begin + BLOCK))
        self.at = end
        return self.content.read(begin, end)

    @override
    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        at = {SEEK_SET: self.begin, SEEK_CUR: self.at, SEEK_END: self.end}[whence] + offset
        if at < self.begin:
            raise ValueError("There is nothing before the file's begin.")
        self.at = at
        return self.tell()

    @override
    def tell(self) -> int:
        return self.at - self.begin

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def close(self) -> None:
        self.content = None  # the last slice that is closed frees the disk
        super().close()
