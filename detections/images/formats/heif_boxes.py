"""Reads the boxes of HEIC and AVIF (HEIF: ISO 14496-12 and 23008-12), as `containers` does other formats."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from detections.images.formats.containers import BrokenError, SlowError, Source

MOST_ITEMS = 1000  # libheif's own limit
MOST_TABLE_BYTES = 1 << 20
_LONG_ITEM_IDS, _LONG_LOCATIONS = 3, 2  # versions of entries and tables with numbers of four bytes
_TOP_LEVEL = frozenset(b"ftyp meta mdat moov moof mfra free skip uuid".split())


class UnsupportedError(BrokenError):
    """The file may be whole, but no decoder here reads its kind."""


class Box(NamedTuple):
    """Where the content of a box begins and ends."""

    kind: bytes
    start: int
    end: int


class Reference(NamedTuple):
    """From one item to others."""

    box: Box
    origin: int
    targets: list[int]

    @property
    def kind(self) -> bytes:
        return self.box.kind


class Fields:
    """The numbers of a box, one after the other."""

    def __init__(self, source: Source, box: Box) -> None:
        if box.end - box.start > MOST_TABLE_BYTES:
            raise BrokenError("one of its tables is too long")
        self.content = source.at(box.start, box.end - box.start)
        self.place = 0

    def take(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.content):
            raise BrokenError("one of its boxes ends too early")
        return self.content[self.place - count : self.place]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def version(self) -> int:
        """Of a box that has one; its flags are passed over."""
        version, _ = self.number(1), self.take(3)
        return version


def boxes(source: Source, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        (length,), kind, head = source.unpack(">I", start), source.at(start + 4, 4), 8
        if length == 1:
            (length,), head = source.unpack(">Q", start + 8), 16
        if length == 0:  # to the end
            length = end - start
        if length < head or start + length > end:
            raise BrokenError("it ends too early")
        yield Box(kind, start + head, start + length)
        start += length


def top_level(source: Source) -> Iterator[Box]:
    """The boxes up to the first that is none: files may have something behind them."""
    start = 0
    while start + 8 <= source.length:
        try:
            box = next(boxes(source, start, source.length))
        except SlowError:
            raise
        except BrokenError:
            if source.at(start + 4, 4) in _TOP_LEVEL:
                raise
            return
        yield box
        start = box.end


def only(found: Iterable[Box], kind: bytes) -> Box:
    """The box of this kind. Decoders differ in which of two they take."""
    matching = [box for box in found if box.kind == kind]
    if len(matching) != 1:
        raise BrokenError("it does not say what it holds, or more than once")
    return matching[0]


class Meta:
    """What a file says about its items: images, parts of images, and metadata."""

    def __init__(self, source: Source) -> None:
        self.source = source
        meta = only(top_level(source), b"meta")
        self.tables = list(boxes(source, meta.start + 4, meta.end))
        self.primary = self._primary()
        self.kinds = dict(self._kinds())
        self.extents = dict(self._extents())
        descriptions = only(self.tables, b"iprp")
        tables = list(boxes(source, descriptions.start, descriptions.end))
        self.shared = only(tables, b"ipco")
        self.properties = self._properties([table for table in tables if table.kind == b"ipma"])
        self.references = list(self._references())

    def _primary(self) -> int:
        fields = Fields(self.source, only(self.tables, b"pitm"))
        return fields.number(4 if fields.version() else 2)

    def _kinds(self) -> Iterator[tuple[int, bytes]]:
        table = only(self.tables, b"iinf")
        head = Fields(self.source, table)
        if head.number(4 if head.version() else 2) > MOST_ITEMS:
            raise BrokenError("it is made of too many pieces")
        for entry in boxes(self.source, table.start + head.place, table.end):
            fields = Fields(self.source, entry)
            version = fields.version()
            item, protection = fields.number(4 if version == _LONG_ITEM_IDS else 2), fields.number(2)
            if protection:
                raise UnsupportedError("parts of it are encrypted")
            yield item, fields.take(4)

    def _extents(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Where each item lies in the file: offsets and lengths, all of them inside."""
        fields = Fields(self.source, only(self.tables, b"iloc"))
        version, sizes = fields.version(), fields.number(2)
        of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        long = 4 if version == _LONG_LOCATIONS else 2
        for _ in range(fields.number(long)):
            item = fields.number(long)
            method = fields.number(2) & 15 if version else 0
            fields.take(2)  # in which file
            base, extents = fields.number(of_base), []
            for _ in range(fields.number(2)):
                fields.take(of_index if version else 0)
                offset, length = base + fields.number(of_offset), fields.number(of_length)
                extents.append((self._offset(method, offset, length), length))
            yield item, extents

    def _offset(self, method: int, offset: int, length: int) -> int:
        """In the file, of bytes that the file or its box for small data holds."""
        if method > 1:
            raise UnsupportedError("its parts lie in each other")
        whole = only(self.tables, b"idat") if method else Box(b"", 0, self.source.length)
        if length == 0 or whole.start + offset + length > whole.end:
            raise BrokenError("it ends too early")
        return whole.start + offset

    def _properties(self, tables: list[Box]) -> dict[int, list[Box]]:
        """The properties of each item, in their order."""
        shared = list(boxes(self.source, self.shared.start, self.shared.end))
        found: dict[int, list[Box]] = {}
        for table in tables:
            fields = Fields(self.source, table)
            version, wide = fields.number(1), fields.number(3) & 1
            for _ in range(fields.number(4)):
                item, count = fields.number(4 if version else 2), fields.number(1)
                indices = [
                    fields.number(2) & 0x7FFF if wide else fields.number(1) & 0x7F for _ in range(count)
                ]
                if max(indices, default=0) > len(shared):
                    raise BrokenError("one of its properties is missing")
                found.setdefault(item, []).extend(shared[index - 1] for index in indices if index)
        return found

    def _references(self) -> Iterator[Reference]:
        for table in (box for box in self.tables if box.kind == b"iref"):
            length = 2 if self.source.at(table.start, 1) == b"\0" else 4
            for box in boxes(self.source, table.start + 4, table.end):
                fields = Fields(self.source, box)
                origin, count = fields.number(length), fields.number(2)
                yield Reference(box, origin, [fields.number(length) for _ in range(count)])

    def property(self, item: int, kind: bytes) -> Fields | None:
        found = next((box for box in self.properties.get(item, ()) if box.kind == kind), None)
        return Fields(self.source, found) if found else None

    def size(self, item: int) -> tuple[int, int]:
        """As it is coded, in pixels."""
        fields = self.property(item, b"ispe")
        if fields is None:
            raise BrokenError("it does not say how large it is")
        fields.version()
        return fields.number(4), fields.number(4)

    def coded(self, item: int) -> list[int]:
        """The items that are decoded for this one: itself, or the tiles of a grid."""
        if self.kinds.get(item) != b"grid":
            return [item]
        parts = (each for each in self.references if (each.kind, each.origin) == (b"dimg", item))
        return [tile for part in parts for tile in part.targets]
