"""HEIC and AVIF put together from their boxes, as encoders write them and as they never would."""

import struct
from dataclasses import dataclass
from functools import cache

from testing.files import pictures

CODECS = {b"heic": b"hvc1", b"avif": b"av01"}
TILE = 64


@dataclass
class Item:
    """An item of a file: an image, its tiles, its alpha, or metadata. Ids are places in a list, from 1 on."""

    kind: bytes
    data: bytes
    properties: tuple = ()
    rest: bytes = b"\0"  # of its entry: names and types


def box(kind, *contents):
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def full_box(kind, *contents, version=0, flags=0):
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)


def size(width, height):
    return full_box(b"ispe", struct.pack(">II", width, height))


@cache
def coded(brand, side=(TILE, TILE)):
    """The configuration and the pixels of a picture, as its encoder made them."""
    return taken_apart({b"heic": pictures.heic, b"avif": pictures.avif}[brand](*side), brand)


def taken_apart(data, brand):
    """The same of a file."""
    at = data.index({b"heic": b"hvcC", b"avif": b"av1C"}[brand]) - 4
    (length,) = struct.unpack(">I", data[at : at + 4])
    return data[at : at + length], data[data.index(b"mdat") + 4 :]


def tile(brand, width=TILE, height=TILE, *properties, side=(TILE, TILE)):
    """A coded image that says to be of this size."""
    configuration, data = coded(brand, side)
    return Item(CODECS[brand], data, (size(width, height), configuration, *properties))


def grid(columns, rows, width, height, *properties):
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    return Item(b"grid", content, (size(width, height), *properties))


def assembled(brand, items, references=(), primary=1, behind=b""):
    """A file of these items. A reference is its kind, the item that refers, and the others."""
    head = box(b"ftyp", brand, bytes(4), b"mif1miaf" + brand)
    length = len(_meta(items, references, primary, 0))
    pixels = box(b"mdat", *(item.data for item in items))
    return head + _meta(items, references, primary, len(head) + length + 8) + pixels + behind


def _essential(each):
    """The bit that readers must understand a property."""
    return 0 if each[4:8] in {b"ispe", b"auxC", b"colr"} else 128


def _meta(items, references, primary, start):
    kinds = [
        full_box(b"infe", struct.pack(">HH", number, 0), item.kind, item.rest, version=2)
        for number, item in enumerate(items, 1)
    ]
    shared = list(dict.fromkeys(each for item in items for each in item.properties))
    used = [
        struct.pack(">HB", number, len(item.properties))
        + bytes(shared.index(each) + 1 | _essential(each) for each in item.properties)
        for number, item in enumerate(items, 1)
    ]
    places = []
    for number, item in enumerate(items, 1):
        places.append(struct.pack(">HHHII", number, 0, 1, start, len(item.data)))
        start += len(item.data)
    links = [
        box(kind, struct.pack(f">HH{len(others)}H", origin, len(others), *others))
        for kind, origin, others in references
    ]
    return full_box(
        b"meta",
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", primary)),
        full_box(b"iloc", b"\x44\0", struct.pack(">H", len(items)), *places),
        full_box(b"iinf", struct.pack(">H", len(items)), *kinds),
        full_box(b"iref", *links),
        box(
            b"iprp",
            box(b"ipco", *shared),
            full_box(b"ipma", struct.pack(">I", len(items)), *used),
        ),
    )
