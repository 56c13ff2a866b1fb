"""The directories of TIFFs: which one holds the picture. EXIF is such a directory, too.

Camera raw files are TIFFs whose first directory is a thumbnail; pyramids hold reduced copies.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from itertools import chain, cycle, repeat
from typing import IO, Any, NamedTuple

from detections.images.formats.containers import BrokenError, SlowError, Source

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
KIND_OF_PAGE, KIND_OF_OLD_PAGE, WIDTH, HEIGHT = 254, 255, 256, 257
BITS, COMPRESSION, COLOURS, MAKER = 258, 259, 262, 271
SAMPLES, ROWS_A_STRIP, PLANES, ORIENTATION = 277, 278, 284, 274
TILE_WIDTH, TILE_HEIGHT, SUB_DIRECTORIES = 322, 323, 330
EXTRA_SAMPLES = 338
FILTER_SIZE, FILTER_PATTERN, DNG_VERSION = 33421, 33422, 50706
STRIPS, TILES = (273, 279), (324, 325)  # the tags of their offsets and of their lengths
UNCOMPRESSED = 1
# Of compressions: fax, LZW, JPEG, deflate, packed bits, ThunderScan, LogLuv, LZMA and Zstandard
COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000})
_OTHER_COMPRESSIONS = {
    9: "JBIG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_SEPARATE_PLANES = 2
_PLAIN_ALPHA = 2

_TAGS = frozenset(
    {KIND_OF_PAGE, KIND_OF_OLD_PAGE, WIDTH, HEIGHT, BITS, COMPRESSION, COLOURS, MAKER, SAMPLES, ROWS_A_STRIP}
    | {PLANES, ORIENTATION, EXTRA_SAMPLES, TILE_WIDTH, TILE_HEIGHT, SUB_DIRECTORIES, *STRIPS, *TILES}
    | {FILTER_SIZE, FILTER_PATTERN, DNG_VERSION}
)
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_INTEGERS = _UNSIGNED | {6: "b", 8: "h", 9: "i", 17: "q"}
_TEXT = {2: "s"}
_MOST_ENTRIES = 1 << 16
_ENTRIES_A_READ = 16  # directory entries that count as one read, since they lie in a block in memory
_MOST_DIRECTORIES = 64  # that are looked at; documents may have more pages
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2  # kinds of pages
_FILTERED_COLOURS = frozenset({32803, 34892})  # behind a sensor's filter, and linear raw
_RAW_SIGNATURES = {re.compile(rb"CR\x02"): "Canon", re.compile(rb"IIII.waR|MMMMRaw."): "Phase One"}
_RAW_SIGNATURES_AT = 8
_MAKERS = (
    *("Nikon", "Canon", "Sony", "Pentax", "Ricoh", "Kodak", "Olympus", "Epson", "Leica", "Panasonic"),
    *("Samsung", "Hasselblad", "Fujifilm", "Mamiya", "Leaf", "Phase One", "Minolta", "Sigma", "Casio"),
)


class Tag(NamedTuple):
    """`form` is the struct format of one value, `offset` the place of the first."""

    form: str
    values: int
    offset: int


class _Form(NamedTuple):
    """How directories are laid out: classic or big, in which byte order."""

    order: str
    start_at: int  # where the file says where its first directory is
    offset: str  # as struct formats
    entries: str
    entry: str
    inline: int  # bytes from the beginning of an entry to its value


class _Entry(NamedTuple):
    """Of a directory, as it lies in the file."""

    tag: int
    kind: int
    values: int
    offset: int


@dataclass(frozen=True, slots=True)
class Directory:
    """`entries` are those of the tags that are used here, with None where their type makes no sense."""

    source: Source
    offset: int
    entries: tuple[tuple[int, Tag | None], ...]
    following: int  # the next directory's offset; 0 after the last

    def all(self, name: int) -> list[Tag | None]:
        return [tag for found, tag in self.entries if found == name]

    def only(self, name: int) -> Tag | None:
        """None without the tag. Raises BrokenError for several, as decoders differ in which one they take."""
        tags = self.all(name)
        if not tags:
            return None
        if len(tags) > 1 or tags[0] is None or tags[0].form[1] not in _UNSIGNED.values():
            raise BrokenError("its directory contradicts itself")
        return tags[0]

    def values(self, name: int) -> tuple[int, ...]:
        tag = self.only(name)
        return self._unpacked(tag, tag.values) if tag else ()

    def number(self, name: int, default: int = 0) -> int:
        """The first value."""
        tag = self.only(name)
        return int(self._unpacked(tag, 1)[0]) if tag else default

    def first(self, name: int, most: int = 1) -> tuple[Any, ...]:
        """Values of the first entry; none if there are none, or they are damaged. Text is one value."""
        tag = next(iter(self.all(name)), None)
        try:
            return self._unpacked(tag, min(tag.values, most)) if tag else ()
        except SlowError:
            raise
        except BrokenError:
            return ()

    def _unpacked(self, tag: Tag, count: int) -> tuple[Any, ...]:
        order, kind = tag.form[0], tag.form[1]
        return self.source.unpack(f"{order}{count}{kind}", tag.offset)

    def make_upright(self, data: bytearray) -> None:
        """Overwrite its orientation, in the bytes of its file."""
        self._overwrite(data, ORIENTATION, 1)

    def make_alpha_plain(self, data: bytearray) -> None:
        """Say that colours are not multiplied by alpha, in the bytes of its file."""
        self._overwrite(data, EXTRA_SAMPLES, _PLAIN_ALPHA)

    def _overwrite(self, data: bytearray, name: int, value: int) -> None:
        for tag in filter(None, self.all(name)):
            if tag.offset + struct.calcsize(tag.form) <= len(data):
                struct.pack_into(tag.form, data, tag.offset, value)

    @property
    def compression(self) -> int:
        return self.number(COMPRESSION, UNCOMPRESSED)

    @property
    def compression_name(self) -> str:
        """The number, with a name if it is one that is known and not read."""
        name = _OTHER_COMPRESSIONS.get(self.compression)
        return f"{name}, {self.compression}" if name else str(self.compression)

    @property
    def pixels(self) -> int:
        return int(sum(self.first(WIDTH)) * sum(self.first(HEIGHT)))

    @property
    def is_reduced(self) -> bool:
        """A smaller copy of another picture, or a mask."""
        kind = sum(self.first(KIND_OF_PAGE))
        return bool(kind & (_REDUCED | _MASK)) or self.first(KIND_OF_OLD_PAGE) == (_OLD_REDUCED,)

    @property
    def is_raw(self) -> bool:
        colours = frozenset(self.first(COLOURS))
        return bool(colours & _FILTERED_COLOURS or self.all(FILTER_SIZE) or self.all(DNG_VERSION))

    @property
    def is_tiled(self) -> bool:
        return bool(self.all(TILES[0]))

    @property
    def tags_of_pieces(self) -> tuple[int, int]:
        """Of the offsets and the lengths of its strips or tiles."""
        return TILES if self.is_tiled else STRIPS

    @property
    def least_pieces(self) -> int:
        """The strips or tiles that its size needs."""
        width, height = self.number(WIDTH), self.number(HEIGHT)
        if self.is_tiled:
            of_plane = -(-width // self.number(TILE_WIDTH)) * -(-height // self.number(TILE_HEIGHT))
        else:
            of_plane = -(-height // self._rows_a_strip)
        return of_plane * (self._samples if self._has_planes else 1)

    @property
    def _rows_a_strip(self) -> int:
        return self.number(ROWS_A_STRIP) or self.number(HEIGHT)

    @property
    def _has_planes(self) -> bool:
        return self.first(PLANES) == (_SEPARATE_PLANES,)

    @property
    def _samples(self) -> int:
        return sum(self.first(SAMPLES)) or 1

    def lengths_of_pieces(self, pieces: int) -> Iterator[int]:
        """The bytes that each strip or tile has at least; goes on without an end.

        Of compressed pixels whose lengths are not said, nothing is known.
        """
        said = self.first(self.tags_of_pieces[1], pieces)
        if self.compression != UNCOMPRESSED:
            return chain(said, repeat(1))
        whole = repeat(self._tile_length()) if self.is_tiled else self._strip_lengths()
        pairs = zip(whole, chain(said, repeat(0)), strict=False)  # both go on without an end
        return (min(length, told or length) for length, told in pairs)

    def _tile_length(self) -> int:
        return self.number(TILE_HEIGHT) * self._row_length(self.number(TILE_WIDTH))

    def _strip_lengths(self) -> Iterator[int]:
        height = self.number(HEIGHT)
        rows, row_length = self._rows_a_strip, self._row_length(self.number(WIDTH))
        of_plane = [min(rows, height - top) * row_length for top in range(0, height, rows)]
        return cycle(of_plane)

    def _row_length(self, width: int) -> int:
        samples = 1 if self._has_planes else self._samples
        return (width * samples * (sum(self.first(BITS)) or 1) + 7) // 8


@dataclass(frozen=True, slots=True)
class Tiff:
    """`pages` are the directories that follow each other, each with those inside of it."""

    source: Source
    pages: tuple[tuple[Directory, ...], ...]

    @property
    def first(self) -> Directory:
        return self.pages[0][0]

    @property
    def main(self) -> Directory:
        """The largest of the first page that is no reduced copy; of all, if there is none."""
        whole = ([each for each in page if not each.is_reduced] for page in self.pages)
        every = [each for page in self.pages for each in page]
        return max(next(filter(None, whole), every), key=lambda directory: directory.pixels)

    @property
    def orientation(self) -> int | None:
        """The main picture's; what holds it speaks for it, too. None if there is none."""
        found = self.main.first(ORIENTATION) or self.first.first(ORIENTATION)
        return found[0] if found else None

    @property
    def raw_maker(self) -> str | None:
        """Whose camera raw it is; empty if that is unknown, None if it is none."""
        start = self.source.at(_RAW_SIGNATURES_AT, min(8, self.source.length - _RAW_SIGNATURES_AT))
        for signature, maker in _RAW_SIGNATURES.items():
            if signature.match(start):
                return maker
        if not any(directory.is_raw for page in self.pages for directory in page):
            return None
        if self.first.all(DNG_VERSION):
            return "DNG"
        said = b"".join(self.first.first(MAKER, 64)).decode("latin-1").casefold()
        return next((maker for maker in _MAKERS if maker.casefold() in said), "")


def read_tiff(source: Source) -> Tiff:
    """Raises BrokenError if the first directory cannot be read; damaged ones behind it are left out."""
    return Tiff(source, tuple(_pages(source)))


def first_directory(source: Source) -> Directory:
    """EXIF's own."""
    form = _form(source)
    return _directory(source, form, *source.unpack(form.order + form.offset, form.start_at))


def with_main_first(file: IO[bytes]) -> IO[bytes]:
    """The same file; a copy that begins with the main picture if it begins with another one.

    Decoders read the first directory.
    """
    source = Source(file, 0, file.seek(0, SEEK_END))
    try:
        if source.at(0, 4) not in SIGNATURES or (tiff := read_tiff(source)).main == tiff.first:
            return file
    except BrokenError:
        return file
    form = _form(source)
    file.seek(0)
    copy = bytearray(file.read())
    struct.pack_into(form.order + form.offset, copy, form.start_at, tiff.main.offset)
    return BytesIO(copy)


def with_plain_alpha(file: IO[bytes]) -> IO[bytes]:
    """A copy whose main picture says that colours are not multiplied by alpha. Raises BrokenError."""
    file.seek(0)
    copy = bytearray(file.read())
    read_tiff(Source(file, 0, len(copy))).main.make_alpha_plain(copy)
    return BytesIO(copy)


def unread_layout(file: IO[bytes]) -> str:
    """How the pixels of a whole TIFF lie that no decoder reads; empty for other files."""
    source = Source(file, 0, file.seek(0, SEEK_END))
    try:
        if source.at(0, 4) not in SIGNATURES:
            return ""
        main = read_tiff(source).main
        compression = f"its compression ({main.compression_name})"
        return compression + (" or its depth" if main.compression in COMPRESSIONS else "")
    except BrokenError:
        return ""


def _form(source: Source) -> _Form:
    order = {b"II": "<", b"MM": ">"}.get(source.at(0, 2))
    if order is None:
        raise BrokenError("it does not begin with its header")
    if source.unpack(order + "H", 2) == (43,):
        return _Form(order, 8, "Q", "Q", "HHQQ", 12)
    return _Form(order, 4, "I", "H", "HHII", 8)


def _pages(source: Source) -> Iterator[tuple[Directory, ...]]:
    form, first = _form(source), first_directory(source)
    page: Directory | None = first
    seen = {first.offset}
    while page is not None:
        inside = [page]
        for directory in inside:  # grows, as these may hold others
            offsets = directory.first(SUB_DIRECTORIES, _MOST_DIRECTORIES)
            found = (_other_directory(source, form, offset, seen) for offset in offsets)
            inside.extend(filter(None, found))
        yield tuple(inside)
        page = _other_directory(source, form, page.following, seen)


def _other_directory(source: Source, form: _Form, offset: int, seen: set[int]) -> Directory | None:
    if offset in seen or offset <= 0 or len(seen) >= _MOST_DIRECTORIES:
        return None
    seen.add(offset)
    try:
        return _directory(source, form, offset)
    except SlowError:
        raise
    except BrokenError:
        return None


def _directory(source: Source, form: _Form, offset: int) -> Directory:
    (count,) = source.unpack(form.order + form.entries, offset)
    if count > _MOST_ENTRIES:
        raise BrokenError("its directory is too long")
    start, length = (
        offset + struct.calcsize(form.order + form.entries),
        struct.calcsize(form.order + form.entry),
    )
    raw = source.at(start, count * length)
    source.count_reads(count // _ENTRIES_A_READ)
    entries = tuple(
        (entry.tag, _tag(form, entry, start + index * length + form.inline))
        for index, entry in enumerate(map(_Entry._make, struct.iter_unpack(form.order + form.entry, raw)))
        if entry.tag in _TAGS
    )
    end = start + count * length
    is_last = end + struct.calcsize(form.offset) > source.length  # some writers leave the last offset out
    following = 0 if is_last else source.unpack(form.order + form.offset, end)[0]
    return Directory(source, offset, entries, following)


def _tag(form: _Form, entry: _Entry, inline: int) -> Tag | None:
    code = (_TEXT if entry.tag == MAKER else _INTEGERS).get(entry.kind)
    if code is None:
        return None
    fits = entry.values * struct.calcsize(code) <= struct.calcsize(form.offset)  # then it holds them itself
    return Tag(form.order + code, entry.values, inline if fits else entry.offset)
