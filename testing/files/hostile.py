"""Uploads that attack their readers, made in memory: name, attacked part and expected outcome.

The files of `pictures.HOSTILE`, which are refused by their content, belong to them.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from testing.files import heif, pictures
from testing.files.pictures import (
    TIFF_TAGS,
    animated,
    bmp,
    encoded,
    gif,
    jpeg,
    picture,
    png,
    png_chunk,
    tiff,
    tiff_of,
    webp,
)

# Marks every place where a file may hide data; no served file may contain it.
MARK = b"HIDDEN-7f3a9c51"
PHP = b"<?php system($_GET['c']); /* " + MARK + b" */ ?>"
SCRIPT = b"<script>alert('" + MARK + b"')</script>"
SIGNATURE = b"\x89PNG\r\n\x1a\n"

# The outcome of an accepted file.
DONE, FAILED = "done", "failed"
ENDED = "done or failed"  # by the decoder's version
UNSUPPORTED, CORRUPT, TOO_MANY = "unsupported_format", "corrupt_image", "too_many_pixels"


@dataclass(frozen=True)
class Hostile:
    name: str
    attacks: str
    make: Callable[[], bytes] = field(repr=False)
    becomes: str

    def __str__(self):
        return self.name


# JPEG


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(*segments, of=None):
    data = of or jpeg()
    return data[:2] + b"".join(segments) + data[2:]


def replaced(data, marker, change):
    """The first segment of this kind, its content changed."""
    at = data.index(bytes([0xFF, marker]))
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:at] + segment(marker, change(data[at + 4 : at + 2 + length])) + data[at + 2 + length :]


def without_segment(data, marker):
    at = data.index(bytes([0xFF, marker]))
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:at] + data[at + 2 + length :]


def exif_segment(tiff_bytes):
    return segment(0xE1, b"Exif\0\0" + tiff_bytes)


def directory(entries, following=0, at=8):
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def exif_with(entries, following=0, tail=b""):
    return b"II*\0\x08\0\0\0" + directory(entries, following) + tail


def values_upon_each_other(tags=4000, length=50_000):
    """Many values that share the same bytes: a reader that copies each needs 200 MB."""
    start = 8 + 2 + 12 * tags + 4
    return exif_with([(1000 + tag, 7, length, start) for tag in range(tags)], tail=bytes(length))


def place_and_thumbnail():
    """EXIF as phones write it: place, author, and a thumbnail at the end."""
    tags = Image.Exif()
    tags[0x010E], tags[0x0112] = MARK.decode(), 6
    tags.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    tags.get_ifd(0x8825)[29] = MARK.decode()
    thumbnail = encoded(picture(16, 16), "JPEG", comment=MARK)
    return replaced(jpeg(exif=tags), 0xE1, lambda content: content + thumbnail)


def xmp_packets():
    head = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + MARK * 100
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 2**32 - 1, 0) + MARK
    return with_segments(segment(0xE1, head), *[segment(0xE1, extended)] * 200)


def profile_in_pieces():
    """255 pieces that disagree about their number."""
    pieces = (b"ICC_PROFILE\0" + bytes([number, 256 - number]) + bytes(100) for number in range(1, 256))
    return with_segments(*[segment(0xE2, piece) for piece in pieces])


def one_of_each_application_segment():
    return with_segments(*[segment(marker, MARK) for marker in (*range(0xE0, 0xF0), 0xFE)])


def frame(data, precision=None, components=None, sampling=None, size=None):
    def change(content):
        content = bytearray(content)
        if precision:
            content[0] = precision
        if size:
            content[1:5] = struct.pack(">HH", *size)
        if components:
            content[5] = components
        if sampling:
            content[7] = sampling
        return bytes(content)

    return replaced(data, 0xC0, change)


def other_process(marker):
    """A JPEG whose frame marker claims another process: lossless, arithmetic, hierarchical."""
    data = jpeg()
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + bytes([marker]) + data[at + 2 :]


def noise(count):
    return bytes((number * 7919 >> 3) % 255 for number in range(count))


def pixels_of_noise():
    data = jpeg(640, 480)
    at = data.index(b"\xff\xda")
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[: at + 2 + length] + noise(20_000) + b"\xff\xd9"


JPEGS = [
    Hostile(
        "zip-behind.jpg",
        "readers of ZIPs: a picture and an archive",
        lambda: jpeg() + archive({"a": MARK}),
        DONE,
    ),
    Hostile("pdf-behind.jpg", "readers of PDFs", lambda: jpeg() + pictures.PDF + MARK, DONE),
    Hostile("page-behind.jpg", "browsers that guess", lambda: jpeg() + SCRIPT, DONE),
    Hostile("comment.php.jpg", "servers that run PHP", lambda: jpeg(comment=PHP), DONE),
    Hostile("comment-first.jpg", "browsers that guess", lambda: with_segments(segment(0xFE, SCRIPT)), DONE),
    Hostile("place.jpg", "privacy: place, text, thumbnail", place_and_thumbnail, DONE),
    Hostile("packets.jpg", "XMP in many lying parts", xmp_packets, DONE),
    Hostile("profile.jpg", "readers of colour profiles", profile_in_pieces, ENDED),
    Hostile(
        "application.jpg", "every application segment, hidden text", one_of_each_application_segment, ENDED
    ),
    Hostile(
        "exif-loop.jpg",
        "EXIF readers: directories that follow themselves and each other",
        lambda: with_segments(
            exif_segment(exif_with([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8)], following=8))
        ),
        DONE,
    ),
    Hostile(
        "exif-huge.jpg",
        "EXIF readers: a value of four billion numbers",
        lambda: with_segments(exif_segment(exif_with([(0x010E, 2, 2**32 - 1, 8), (0x0112, 3, 2**31, 8)]))),
        DONE,
    ),
    Hostile(
        "exif-values.jpg",
        "EXIF readers: 1,000 values of the same 50 KB, in one segment",
        lambda: with_segments(exif_segment(values_upon_each_other(1000))),
        DONE,
    ),
    Hostile(
        "exif-elsewhere.jpg",
        "EXIF readers: offsets behind the end",
        lambda: with_segments(exif_segment(b"II*\0\xf0\xff\xff\xff" + MARK)),
        DONE,
    ),
    Hostile(
        "exif-countless.jpg",
        "EXIF readers: 65,535 entries that are not there",
        lambda: with_segments(exif_segment(b"MM\0*\0\0\0\x08\xff\xff" + MARK)),
        DONE,
    ),
    Hostile(
        "exif-turned-often.jpg",
        "EXIF readers: orientations that contradict each other",
        lambda: with_segments(
            exif_segment(exif_with([(0x0112, 3, 1, 6), (0x0112, 3, 1, 99), (0x0112, 7, 9, 2)]))
        ),
        DONE,
    ),
    Hostile(
        "taller.jpg", "decoders: more rows than there are", lambda: pictures.jpeg_claiming(48, 4000), DONE
    ),
    Hostile(
        "wider.jpg", "decoders: more columns than there are", lambda: pictures.jpeg_claiming(6000, 32), DONE
    ),
    Hostile(
        "smaller.jpg", "decoders: fewer pixels than there are", lambda: pictures.jpeg_claiming(1, 1), DONE
    ),
    Hostile("noise.jpg", "entropy decoders", pixels_of_noise, DONE),
    Hostile("twelve-bits.jpg", "decoders: 12 bits", lambda: frame(jpeg(), precision=12), FAILED),
    Hostile("many-components.jpg", "decoders: 255 components", lambda: frame(jpeg(), components=255), FAILED),
    Hostile("sampling.jpg", "decoders: sampling of 15 x 15", lambda: frame(jpeg(), sampling=0xFF), FAILED),
    Hostile("sampling-zero.jpg", "decoders: division by zero", lambda: frame(jpeg(), sampling=0x10), FAILED),
    Hostile("no-tables.jpg", "decoders: no quantisation", lambda: without_segment(jpeg(), 0xDB), ENDED),
    Hostile("no-codes.jpg", "decoders: no Huffman table", lambda: without_segment(jpeg(), 0xC4), ENDED),
    Hostile(
        "codes.jpg",
        "decoders: a Huffman table of 4,000 codes",
        lambda: replaced(jpeg(), 0xC4, lambda c: c[:1] + b"\xff" * 16 + c[17:]),
        FAILED,
    ),
    Hostile("lossless.jpg", "decoders: lossless process", lambda: other_process(0xC3), FAILED),
    Hostile("arithmetic.jpg", "decoders: arithmetic coding", lambda: other_process(0xC9), ENDED),
    Hostile("hierarchical.jpg", "decoders: hierarchical process", lambda: other_process(0xC5), FAILED),
    Hostile(
        "inks.jpg",
        "decoders: four inks, transform unknown",
        lambda: with_segments(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07"), of=jpeg(mode="CMYK")),
        ENDED,
    ),
    Hostile(
        "restarts.jpg",
        "decoders: a restart after every block, missing",
        lambda: with_segments(segment(0xDD, b"\0\1")),
        ENDED,
    ),
    Hostile(
        "phone-pairs.jpg",
        "decoders: a second picture and hidden text behind",
        lambda: pictures.mpo() + MARK,
        DONE,
    ),
]


# PNG


def with_chunks(*chunks, of=None):
    data = of or png()
    return data[:33] + b"".join(png_chunk(kind, content) for kind, content in chunks) + data[33:]


def png_of(width, height, bits, colour, raw, *before, interlace=0):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *before, (b"IDAT", raw), (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def zeros(count):
    """Zero bytes, compressed as far as possible."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(count >> 20))
    return packed + packer.compress(bytes(count & 0xFFFFF)) + packer.flush()


def wrong_sum():
    data = bytearray(png())
    data[data.index(b"IDAT") - 4 + 8 + 2] ^= 0xFF
    return bytes(data)


def chunk_sums():
    """Every checksum behind the header wrong."""
    data, at = bytearray(png()), 33
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        data[at + 8 + length : at + 12 + length] = b"\0\0\0\0"
        at += 12 + length
    return bytes(data)


def animation_of_lies():
    control = struct.pack(">II", 2**31 - 1, 0)
    one = struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 2**31 - 1, 0, 0, 0, 9, 9)
    return with_chunks((b"acTL", control), (b"fcTL", one))


TEXT = b"Comment\0" + PHP
PNGS = [
    Hostile(
        "deflated-bomb.png",
        "inflaters: 80 MB in the pixels of a tiny picture",
        lambda: png_of(48, 32, 8, 2, zeros(80 << 20)),
        ENDED,
    ),
    Hostile(
        "profile-bomb.png",
        "inflaters: 70 MB of colour profile",
        lambda: with_chunks((b"iCCP", b"x\0\0" + zeros(70 << 20))),
        ENDED,
    ),
    Hostile(
        "text-bomb.png",
        "inflaters: 70 MB of text",
        lambda: with_chunks((b"zTXt", b"x\0\0" + zeros(70 << 20))),
        ENDED,
    ),
    Hostile(
        "international-bomb.png",
        "inflaters: 70 MB of text",
        lambda: with_chunks((b"iTXt", b"x\0\1\0\0\0" + zeros(70 << 20))),
        ENDED,
    ),
    Hostile(
        "largest.png",
        "memory: 49 million pixels in 6 KB",
        lambda: png_of(7000, 7000, 1, 0, zeros(7000 * 876)),
        DONE,
    ),
    Hostile("text.php.png", "servers that run PHP", lambda: with_chunks((b"tEXt", TEXT)), DONE),
    Hostile("page.png", "browsers that guess", lambda: with_chunks((b"tEXt", b"Title\0" + SCRIPT)), DONE),
    Hostile("page-behind.png", "browsers that guess", lambda: png() + SCRIPT, DONE),
    Hostile("zip-behind.png", "readers of ZIPs", lambda: png() + archive({"a": MARK}), DONE),
    Hostile(
        "exif.png", "privacy", lambda: with_chunks((b"eXIf", exif_with([(0x8769, 4, 1, 8)], 8, MARK))), DONE
    ),
    Hostile(
        "exif-values.png",
        "EXIF readers: 4,000 values of the same 50 KB",
        lambda: with_chunks((b"eXIf", values_upon_each_other())),
        DONE,
    ),
    Hostile(
        "own-chunks.png",
        "chunks of somebody's own",
        lambda: with_chunks((b"prVt", MARK), (b"tIME", MARK), (b"gAMA", MARK)),
        ENDED,
    ),
    Hostile("sums.png", "readers: every checksum wrong", chunk_sums, ENDED),
    Hostile("pixel-sum.png", "readers: the pixels changed", wrong_sum, ENDED),
    Hostile("bits.png", "decoders: three bits a channel", lambda: png_of(8, 8, 3, 2, zeros(200)), FAILED),
    Hostile(
        "colours.png",
        "decoders: a kind of colour that there is not",
        lambda: png_of(8, 8, 8, 5, zeros(200)),
        FAILED,
    ),
    Hostile(
        "no-palette.png", "decoders: a palette that is missing", lambda: png_of(8, 8, 8, 3, zeros(72)), ENDED
    ),
    Hostile(
        "palette.png",
        "decoders: colours behind the palette's end",
        lambda: png_of(8, 8, 8, 3, zlib.compress((b"\0" + b"\xff" * 8) * 8), (b"PLTE", b"\1\2\3")),
        DONE,
    ),
    Hostile(
        "interlaced.png",
        "decoders: an interlacing that there is not",
        lambda: png_of(8, 8, 8, 2, zeros(200), interlace=9),
        ENDED,
    ),
    Hostile(
        "sixteen.png",
        "decoders: 16 bits a channel, with transparency",
        lambda: png_of(16, 16, 16, 6, zeros(16 * 129)),
        DONE,
    ),
    Hostile(
        "too-few.png",
        "decoders: pixels that end too early",
        lambda: png_of(500, 500, 8, 2, zeros(100)),
        ENDED,
    ),
    Hostile("no-deflate.png", "inflaters: noise", lambda: png_of(48, 32, 8, 2, noise(5000)), FAILED),
    Hostile("animation.png", "decoders: frames outside of the picture", animation_of_lies, ENDED),
    Hostile("frames.png", "decoders: 300 frames", lambda: animated("PNG", 300), DONE),
]


# WebP


def riff(*chunks, length=None, behind=b""):
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body + behind


def pixels_of_webp(**options):
    data = webp(**options)
    return data[12:16], data[20 : 20 + struct.unpack("<I", data[16:20])[0]]


def extended(flags, width, height, *chunks):
    canvas = struct.pack("<II", width - 1, height - 1)
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + canvas[:3] + canvas[4:7]), *chunks)


def frame_outside():
    kind, content = pixels_of_webp()
    place = struct.pack("<I", 5000)[:3] * 2 + struct.pack("<I", 47)[:3] + struct.pack("<I", 31)[:3] + bytes(4)
    inner = kind + struct.pack("<I", len(content)) + content
    return extended(2, 48, 32, (b"ANIM", bytes(6)), (b"ANMF", place + inner))


WEBPS = [
    Hostile(
        "canvas.webp",
        "decoders: a canvas larger than its picture",
        lambda: extended(0, 5000, 5000, pixels_of_webp()),
        ENDED,
    ),
    Hostile(
        "canvas-smaller.webp",
        "decoders: a canvas smaller than its picture",
        lambda: extended(0, 4, 4, pixels_of_webp()),
        ENDED,
    ),
    Hostile("frame-outside.webp", "decoders: a frame outside of the canvas", frame_outside, ENDED),
    Hostile("frames.webp", "decoders: 300 frames", lambda: animated("WEBP", 300), DONE),
    Hostile(
        "metadata.webp",
        "privacy",
        lambda: extended(0x0C, 48, 32, pixels_of_webp(), (b"EXIF", exif_with([], 8, MARK)), (b"XMP ", MARK)),
        DONE,
    ),
    Hostile(
        "own-chunks.webp",
        "chunks of somebody's own",
        lambda: extended(0, 48, 32, pixels_of_webp(), (b"PRVT", PHP)),
        DONE,
    ),
    Hostile("behind.webp", "what stands behind the end", lambda: webp() + SCRIPT, DONE),
    Hostile(
        "longer.webp", "readers: longer than the file", lambda: riff(pixels_of_webp(), length=2**31), CORRUPT
    ),
    Hostile(
        "shorter.webp",
        "readers: shorter than its picture",
        lambda: riff(pixels_of_webp(), length=40),
        CORRUPT,
    ),
    Hostile(
        "noise.webp",
        "decoders: noise",
        lambda: riff((b"VP8 ", pixels_of_webp()[1][:10] + noise(3000))),
        ENDED,
    ),
    Hostile(
        "noise-lossless.webp",
        "Huffman tables of the lossless decoder",
        lambda: riff((b"VP8L", pixels_of_webp(lossless=True)[1][:5] + noise(3000))),
        FAILED,
    ),
    Hostile(
        "profile.webp",
        "readers of colour profiles",
        lambda: extended(0x20, 48, 32, (b"ICCP", noise(5000)), pixels_of_webp()),
        DONE,
    ),
    Hostile(
        "alpha-alone.webp",
        "decoders: transparency of no picture",
        lambda: extended(0x10, 48, 32, (b"ALPH", noise(50))),
        CORRUPT,
    ),
]


# GIF


def gif_with(extension, data=None):
    data = data or gif()
    at = 13 + 3 * 2 ** (data[10] % 8 + 1)
    return data[:at] + extension + data[at:]


def blocks(content):
    parts = [content[at : at + 255] for at in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def script_that_is_a_gif():
    """Run as a script, it is a comment, an assignment and a call."""
    data = gif(0x2F2A % 200, 32)
    return data[:-1] + b"!\xfe" + blocks(b"*/=1;alert('" + MARK + b"')//") + b";"


def codes_of(size, content):
    """A whole GIF of these compressed pixels."""
    head = b"GIF89a" + struct.pack("<HHBBB", 48, 32, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 48, 32, 0) + bytes([size]) + blocks(content) + b";"


GIFS = [
    Hostile(
        "script.gif",
        "browsers that run what they are told: a picture and a script",
        script_that_is_a_gif,
        DONE,
    ),
    Hostile("comment.php.gif", "servers that run PHP", lambda: gif_with(b"!\xfe" + blocks(PHP)), DONE),
    Hostile(
        "packet.gif",
        "privacy: XMP",
        lambda: gif_with(b"!\xff\x0bXMP DataXMP" + MARK + b"\1" + bytes(range(255, -1, -1)) + b"\0"),
        ENDED,
    ),
    Hostile("plain-text.gif", "text extensions", lambda: gif_with(b"!\x01" + blocks(bytes(12) + MARK)), DONE),
    Hostile("behind.gif", "what stands behind the end", lambda: gif() + SCRIPT, DONE),
    Hostile("frames.gif", "decoders: 500 frames", lambda: animated("GIF", 500), DONE),
    Hostile("code-size.gif", "LZW: a code size of 255", lambda: codes_of(255, noise(200)), FAILED),
    Hostile("codes.gif", "LZW: codes before their turn", lambda: codes_of(8, b"\xff" * 2000), ENDED),
    Hostile("no-codes.gif", "LZW: no code at all", lambda: codes_of(8, b""), ENDED),
    Hostile(
        "no-colours.gif",
        "decoders: no colour table",
        lambda: (
            b"GIF87a"
            + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 8, 8, 0)
            + b"\2"
            + blocks(b"\x84\x51")
            + b";"
        ),
        ENDED,
    ),
]


# BMP


def bitmap(width, height, bits, compression, content, used=0):
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(content), 0, 0, used, 0)
    return (
        b"BM" + struct.pack("<IHHI", 54 + 1024 + len(content), 0, 0, 54 + 1024) + head + bytes(1024) + content
    )


BMPS = [
    Hostile(
        "run-length.bmp",
        "run-length decoders: runs over the edge",
        lambda: bitmap(48, 32, 8, 1, b"\xff\1" * 5000),
        ENDED,
    ),
    Hostile(
        "run-length-jumps.bmp",
        "run-length decoders: jumps out of the picture",
        lambda: bitmap(48, 32, 8, 1, b"\0\2\xff\xff" * 2000),
        ENDED,
    ),
    Hostile(
        "run-length-4.bmp",
        "run-length decoders: runs that end too early",
        lambda: bitmap(48, 32, 4, 2, b"\0\xff\1"),
        ENDED,
    ),
    Hostile("bits.bmp", "decoders: no bits a pixel", lambda: bitmap(48, 32, 0, 3, bytes(9000)), CORRUPT),
    Hostile(
        "three-bits.bmp", "decoders: three bits a pixel", lambda: bitmap(48, 32, 3, 0, bytes(9000)), FAILED
    ),
    Hostile(
        "within.bmp", "decoders: a JPEG within", lambda: bitmap(48, 32, 0, 4, jpeg(comment=MARK)), FAILED
    ),
    Hostile(
        "colours.bmp",
        "decoders: four billion colours",
        lambda: bitmap(48, 32, 8, 0, bytes(9000), used=2**32 - 1),
        ENDED,
    ),
    Hostile("behind.bmp", "what stands behind the end", lambda: bmp() + SCRIPT, DONE),
    Hostile(
        "lowest.bmp",
        "decoders: the lowest of all heights",
        lambda: pictures.bmp_claiming(1, -(2**31)),
        TOO_MANY,
    ),
]


# TIFF


def tiff_with(**changes):
    return tiff_of({**TIFF_TAGS, **{int(tag[1:]): value for tag, value in changes.items()}})


def following_itself():
    data = bytearray(tiff_of(TIFF_TAGS))
    at = 10 + 12 * len(TIFF_TAGS)
    data[at : at + 4] = struct.pack("<I", 8)
    return bytes(data)


def tiny_tile():
    """One of the tiles that its size needs."""
    return tiff_of(
        {**{tag: TIFF_TAGS[tag] for tag in (256, 257, 258, 259, 262, 277)}, 322: 1, 323: 1, 324: 1000, 325: 3}
    )


def deflated_strip():
    packed = zeros(80 << 20)
    return tiff_of({**TIFF_TAGS, 259: 8, 279: len(packed)}, pixels=packed)


def coded(scheme):
    return lambda: tiff_of({**TIFF_TAGS, 259: scheme, 279: 4000}, pixels=noise(4000))


TIFFS = [
    Hostile("loop.tif", "readers: a directory that follows itself", following_itself, DONE),
    Hostile(
        "sub-loop.tif",
        "readers: directories that hold themselves",
        lambda: tiff_with(t330=8, t34665=8, t34853=8),
        ENDED,
    ),
    Hostile("tiles.tif", "readers: one tile of one pixel", tiny_tile, CORRUPT),
    Hostile("deflated.tif", "inflaters: 80 MB in one strip", deflated_strip, ENDED),
    Hostile(
        "text.tif",
        "privacy",
        lambda: tiff(tiffinfo={270: MARK.decode(), 700: MARK, 33723: MARK, 37510: MARK}),
        DONE,
    ),
    Hostile("behind.tif", "what stands behind the end", lambda: tiff() + SCRIPT, DONE),
    Hostile("samples.tif", "decoders: 60,000 samples a pixel", lambda: tiff_with(t277=60_000), FAILED),
    Hostile(
        "sample-bits.tif", "decoders: four billion bits a sample", lambda: tiff_with(t258=2**32 - 1), FAILED
    ),
    Hostile("rows.tif", "decoders: no rows a strip", lambda: tiff_with(t278=0), ENDED),
    Hostile("rows-many.tif", "decoders: four billion rows a strip", lambda: tiff_with(t278=2**32 - 1), ENDED),
    Hostile(
        "turned.tif",
        "readers: an orientation that there is not",
        lambda: tiff_with(t274=4_000_000_000),
        ENDED,
    ),
    Hostile(
        "inks.tif", "decoders: a kind of colour that there is not", lambda: tiff_with(t262=32_844), FAILED
    ),
    Hostile(
        "not-numbers.tif",
        "arithmetic: pixels that are no numbers",
        lambda: encoded(Image.new("F", (48, 32), float("nan")), "TIFF"),
        FAILED,
    ),
    Hostile(
        "infinite.tif",
        "arithmetic: pixels without bound",
        lambda: encoded(Image.new("F", (48, 32), float("inf")), "TIFF"),
        FAILED,
    ),
    *(
        Hostile(f"scheme-{scheme}.tif", f"a decoder within TIFF: {what}", coded(scheme), becomes)
        for scheme, what, becomes in [
            (2, "CCITT runs", ENDED),
            (3, "fax 3", ENDED),
            (4, "fax 4", ENDED),
            (5, "LZW", ENDED),
            (6, "JPEG of old", ENDED),
            (7, "JPEG", ENDED),
            (9, "JBIG", UNSUPPORTED),
            (32773, "PackBits", ENDED),
            (32809, "ThunderScan", ENDED),
            (34676, "SGI LogLuv", ENDED),
            (34712, "JPEG 2000", UNSUPPORTED),
            (34925, "LZMA", ENDED),
            (50000, "Zstandard", ENDED),
            (50001, "WebP", UNSUPPORTED),
            (34887, "LERC", UNSUPPORTED),
            (65000, "none that there is", UNSUPPORTED),
        ]
    ),
]


# HEIC and AVIF


def tiles_far_larger(brand):
    items = [heif.grid(100, 100, 64, 64), heif.tile(brand, 4096, 4096)]
    return heif.assembled(brand, items, [(b"dimg", 1, [2] * 10_000)])


def with_alpha_of(brand, width, height):
    kind = heif.full_box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    items = [heif.tile(brand), heif.tile(brand, width, height, kind)]
    return heif.assembled(brand, items, [(b"auxl", 2, [1])])


def described_many_times(brand):
    """Metadata that belongs to each of many images."""
    items = [*(heif.tile(brand) for _ in range(200)), heif.Item(b"Exif", bytes(1 << 19))]
    return heif.assembled(brand, items, [(b"cdsc", 201, list(range(1, 201)))])


def coloured_many_times(brand):
    profile = heif.box(b"colr", b"prof", bytes(1 << 19))
    return heif.assembled(brand, [heif.tile(brand, 64, 64, profile) for _ in range(200)])


def hidden_in_heif(brand):
    exif = heif.Item(b"Exif", bytes(4) + place_and_thumbnail()[12:])
    notes = heif.Item(b"mime", MARK, rest=b"\0text/plain\0\0")
    items, references = [heif.tile(brand), exif, notes], [(b"cdsc", 2, [1]), (b"cdsc", 3, [1])]
    return heif.assembled(brand, items, references, behind=heif.box(b"free", MARK))


HEIF_ATTACKS = {  # name: what it attacks, a function of the brand, what becomes of it
    "claims-sixty-thousand": (
        "decoders' memory: the size of the picture",
        lambda brand: heif.assembled(brand, [heif.tile(brand, 60_000, 60_000)]),
        TOO_MANY,
    ),
    "claims-six-thousand": (
        "decoders: another size than its pixels",
        lambda brand: heif.assembled(brand, [heif.tile(brand, 6000, 6000)]),
        ENDED,
    ),
    "tiles-far-larger": ("decoders' time: ten thousand tiles", tiles_far_larger, CORRUPT),
    "alpha-far-larger": (
        "decoders' memory: alpha of another size",
        lambda brand: with_alpha_of(brand, 60_000, 60_000),
        CORRUPT,
    ),
    "described-many-times": (
        "pillow-heif, which copies metadata for each image",
        described_many_times,
        DONE,
    ),
    "coloured-many-times": (
        "pillow-heif, which copies profiles for each image",
        coloured_many_times,
        CORRUPT,
    ),
    "metadata-packed": (
        "inflaters",
        lambda brand: heif.assembled(
            brand,
            [heif.tile(brand), heif.Item(b"mime", b"x", rest=b"\0text/xml\0deflate\0")],
            [(b"cdsc", 2, [1])],
        ),
        DONE,
    ),
    "overlay": (
        "decoders: pictures of pictures",
        lambda brand: heif.assembled(
            brand,
            [heif.Item(b"iovl", bytes(20), (heif.size(64, 64),)), heif.tile(brand)],
            [(b"dimg", 1, [2] * 100)],
        ),
        UNSUPPORTED,
    ),
    "another-codec": (
        "decoders that are looked for by the brand",
        lambda brand: heif.assembled(brand, [heif.tile(b"avif" if brand == b"heic" else b"heic")]),
        UNSUPPORTED,
    ),
    "only-a-brand": (
        "readers of boxes",
        lambda brand: heif.box(b"ftyp", brand, bytes(4), b"mif1", brand) + bytes(300),
        CORRUPT,
    ),
    "hidden": ("privacy: metadata and what lies behind", hidden_in_heif, DONE),
}
HEIFS = [
    Hostile(f"{name}.{brand.decode()}", attacks, lambda make=make, brand=brand: make(brand), becomes)
    for name, (attacks, make, becomes) in HEIF_ATTACKS.items()
    for brand in heif.CODECS
]
HEIFS.append(
    Hostile(
        "larger-in-its-codec.avif",
        "decoders' memory: AV1 of more pixels than its boxes say",
        lambda: heif.assembled(b"avif", [heif.tile(b"avif", 64, 64, side=(2176, 2048))]),
        CORRUPT,
    )
)

# No picture of the eight formats, under names of theirs


def other(form, **options):
    return lambda: encoded(picture(), form, **options)


FOREIGN = {
    "vector-commands.png": (
        b"push graphic-context\nviewbox 0 0 640 480\nimage over 0,0 0,0 'ephemeral:/etc/passwd'",
        "ImageMagick's MVG",
    ),
    "script.jpg": (b"#!/bin/sh\ncat /etc/passwd\n", "shells"),
    "msl.jpg": (b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>", "ImageMagick's MSL"),
    "entities.svg": (b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>", "XML readers"),
    "markup.png": (pictures.HTML, "browsers that guess"),
    "php.gif": (b"GIF89" + PHP, "servers that run PHP"),
    "program.jpg": (b"\x7fELF\2\1\1" + bytes(200), "systems"),
    "program.bmp": (b"MZ" + bytes(200), "systems"),
    "film.jpg": (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(300), "video decoders"),
    "modern.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "JPEG XL decoders"),
    "light.exr": (b"\x76\x2f\x31\x01\2\0\0\0" + bytes(300), "OpenEXR's decoder, which OpenCV has"),
    "radiance.hdr": (
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 32 +X 48\n" + bytes(300),
        "Radiance's decoder, which OpenCV has",
    ),
    "sun.ras": (b"\x59\xa6\x6a\x95" + bytes(300), "Sun's decoder, which OpenCV has"),
    "stars.fits": (b"SIMPLE  =                    T" + b" " * 3000, "FITS readers"),
    "windows.wmf": (b"\xd7\xcd\xc6\x9a" + bytes(300), "drivers that draw"),
    "zip.png": (b"PK\3\4" + bytes(300), "readers of ZIPs"),
    "gzip.png": (b"\x1f\x8b\x08" + bytes(300), "inflaters"),
    "nothing.jpg": (b"\0", "readers: one byte"),
    "start.jpg": (b"\xff", "readers: one byte"),
    "letter.png": (b"\x89", "readers: one byte"),
    "signature.png": (SIGNATURE[:7], "readers: seven bytes of eight"),
    "text.jpg": (b"A picture is worth a thousand words.", "readers"),
    "nulls.jpg": (bytes(100_000), "readers"),
}
PILLOWS = {  # formats that Pillow could open if it were allowed to
    "icon.ico": ("ICO", {}), "icons.icns": ("ICNS", {}), "targa.tga": ("TGA", {}), "paint.pcx": ("PCX", {}),
    "map.ppm": ("PPM", {}), "surface.dds": ("DDS", {}), "work.sgi": ("SGI", {}), "script.eps": ("EPS", {}),
    "spider.spi": ("SPIDER", {}), "paper.pdf": ("PDF", {}), "wavelets.jp2": ("JPEG2000", {}),
    "quite-ok.qoi": ("QOI", {}),
}  # fmt: skip  # a list to read at a glance


def foreign(form):
    mode = {"SPIDER": "F"}.get(form, "RGB")
    return encoded(picture(64, 64).convert(mode), form)


FOREIGNERS = [
    *(
        Hostile(name, attacks, lambda data=data: data, UNSUPPORTED)
        for name, (data, attacks) in FOREIGN.items()
    ),
    *(
        Hostile(f"{name}.jpg", f"Pillow's reader of {form}", lambda form=form: foreign(form), UNSUPPORTED)
        for name, (form, _) in PILLOWS.items()
    ),
]

# Cut off, at every tenth


def cut_short(make, tenths):
    def cut():
        data = make()
        return data[: len(data) * tenths // 10]

    return cut


WHOLE = {
    "jpg": lambda: jpeg(200, 150),
    "progressive.jpg": lambda: jpeg(200, 150, progressive=True),
    "png": lambda: png(200, 150),
    "webp": lambda: webp(200, 150),
    "lossless.webp": lambda: webp(200, 150, lossless=True),
    "bmp": lambda: bmp(200, 150),
    "gif": lambda: gif(200, 150),
    "tif": lambda: tiff_of(TIFF_TAGS),
    "heic": lambda: pictures.heic(200, 150),
    "avif": lambda: pictures.avif(200, 150),
}
CUT = [
    Hostile(
        f"cut-at-{tenths}.{ending}", "readers: a file that ends too early", cut_short(make, tenths), CORRUPT
    )
    for ending, make in WHOLE.items()
    for tenths in (2, 5, 9)
]

FILES = [*JPEGS, *PNGS, *WEBPS, *GIFS, *BMPS, *TIFFS, *HEIFS, *FOREIGNERS, *CUT]


# Archives


def archive(entries, method=zipfile.ZIP_DEFLATED, comment=b""):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        made.comment = comment
        for name, content in entries.items():
            made.writestr(name, content)
    return out.getvalue()


def changed(data, signature, offset, content, nth=0):
    """Bytes at an offset of the nth record that begins with this signature."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + content + data[at + offset + len(content) :]


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def nested(depth):
    data = jpeg()
    for _ in range(depth):
        data = archive({"inner.zip": data, "photo.jpg": jpeg()} if depth == 1 else {"inner.zip": data})
    return data


def overlapping():
    """Many entries of the same compressed bytes."""
    data = archive({f"{number}.jpg": jpeg(200, 150) for number in range(50)})
    first = data.index(CENTRAL)
    head, directories = data[:first], data[first:]
    at = 0
    while (at := directories.find(CENTRAL, at)) >= 0:
        directories = directories[: at + 42] + bytes(4) + directories[at + 46 :]
        at += 4
    return head + directories


def countless(real, claimed, directory=None):
    """Empty entries, and an end record that claims another number of entries and directory size."""
    local = LOCAL + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    central = CENTRAL + struct.pack("<6H3I5HII", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    length = len(central) * real if directory is None else directory
    end = struct.pack("<HHHHIIH", 0, 0, claimed, claimed, length, len(local) * real, 0)
    return local * real + central * real + END + end


def bomb(method=zipfile.ZIP_DEFLATED, megabytes=60):
    return archive({"bomb.bmp": b"BM" + bytes(megabytes << 20)}, method)


def link():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        entry = zipfile.ZipInfo("link.jpg")
        entry.external_attr = 0o120777 << 16
        made.writestr(entry, "/etc/passwd")
    return out.getvalue()


GOOD = {"photo.jpg": jpeg()}
BAD = "bad_archive"
ARCHIVES = [
    Hostile("bomb.zip", "unpackers: 60 MB in 60 KB", bomb, BAD),
    Hostile("bomb-bzip2.zip", "unpackers: another method", lambda: bomb(zipfile.ZIP_BZIP2, 1), BAD),
    Hostile("bomb-lzma.zip", "unpackers: another method", lambda: bomb(zipfile.ZIP_LZMA, 1), BAD),
    Hostile("nested.zip", "unpackers that go deeper", lambda: nested(5), UNSUPPORTED),
    Hostile("nested-beside.zip", "unpackers that go deeper", lambda: nested(1), DONE),
    Hostile("overlapping.zip", "unpackers: entries upon each other", overlapping, BAD),
    Hostile(
        "million.zip", "readers: a million entries claimed", lambda: countless(1, 65_535, 47_000_000), BAD
    ),
    Hostile("countless.zip", "readers: more entries than it says", lambda: countless(20_000, 1), BAD),
    Hostile(
        "up.zip", "file systems: a path upwards", lambda: archive({"../../../../tmp/evil.jpg": jpeg()}), DONE
    ),
    Hostile(
        "up-windows.zip", "file systems: a path upwards", lambda: archive({"..\\..\\evil.jpg": jpeg()}), DONE
    ),
    Hostile(
        "root.zip",
        "file systems: a path from the root",
        lambda: archive({"/etc/cron.d/evil.jpg": jpeg()}),
        DONE,
    ),
    Hostile("drive.zip", "file systems: a drive", lambda: archive({"C:\\evil.jpg": jpeg()}), DONE),
    Hostile(
        "newline.zip",
        "logs: a line of their own in a name",
        lambda: archive({"a\nERROR fake.jpg": jpeg()}),
        DONE,
    ),
    Hostile(
        "long-name.zip",
        "readers: a name of 60,000 letters",
        lambda: archive({"a" * 60_000 + ".jpg": jpeg()}),
        DONE,
    ),
    Hostile(
        "right-to-left.zip",
        "people: a name that reads otherwise",
        lambda: archive({"a\u202egpj.exe": jpeg()}),
        DONE,
    ),
    Hostile("link.zip", "file systems: a link", link, UNSUPPORTED),
    Hostile(
        "encrypted.zip", "unpackers: a password", lambda: changed(archive(GOOD), CENTRAL, 8, b"\1\0"), BAD
    ),
    Hostile(
        "larger.zip",
        "unpackers: an entry that is larger than it says",
        lambda: changed(archive(GOOD), CENTRAL, 24, struct.pack("<I", 10)),
        CORRUPT,
    ),
    Hostile(
        "sum.zip",
        "unpackers: a wrong checksum",
        lambda: changed(archive(GOOD), CENTRAL, 16, b"\0\0\0\0"),
        CORRUPT,
    ),
    Hostile(
        "elsewhere.zip",
        "unpackers: an entry behind the end",
        lambda: changed(archive(GOOD), CENTRAL, 42, struct.pack("<I", 2**31)),
        CORRUPT,
    ),
    Hostile(
        "other-name.zip",
        "unpackers: two names for an entry",
        lambda: changed(archive(GOOD), LOCAL, 30, b"../.."),
        CORRUPT,
    ),
    Hostile(
        "no-deflate.zip",
        "inflaters: noise",
        lambda: changed(archive({"a.jpg": noise(5000)}), LOCAL, 35, noise(300)),
        CORRUPT,
    ),
    Hostile(
        "directory.zip",
        "readers: a directory behind the end",
        lambda: changed(archive(GOOD), END, 12, struct.pack("<II", 2**31 - 1, 2**31 - 1)),
        BAD,
    ),
    Hostile(
        "comment.zip",
        "readers: an end within the comment",
        lambda: archive(GOOD, comment=END + bytes(18)),
        BAD,
    ),
    Hostile("cut.zip", "readers: a file that ends too early", lambda: archive(GOOD)[:-10], BAD),
    Hostile("empty.zip", "readers: no entry", lambda: archive({}), BAD),
    Hostile("folders.zip", "readers: folders alone", lambda: archive({"a/": b"", "a/b/": b""}), BAD),
    Hostile("no-archive.zip", "readers: a picture", jpeg, BAD),
    Hostile(
        "behind-a-picture.zip", "readers: a picture and an archive", lambda: jpeg() + archive(GOOD), DONE
    ),
    Hostile("nothing.zip", "readers: no byte", lambda: b"", BAD),
]


# File names in the raw header of a part, and the names that the API shows afterwards


NAMES = {
    "a path": ('filename="../../../../etc/passwd"', "passwd"),
    "a path of Windows": ('filename="..\\\\..\\\\boot.ini"', None),
    "a null": ('filename="a\0.php.jpg"', None),
    "right to left": ("filename*=UTF-8''a%E2%80%AEgpj.exe", None),
    "a line break, encoded": ("filename*=UTF-8''a%0D%0ASet-Cookie:%20x=1", None),
    "quotes": ('filename="a\\"; filename=\\"b.html"', None),
    "two names": ("filename=\"a.html\"; filename*=UTF-8''b.jpg", None),
    "an encoding that there is not": ("filename*=EVIL''a.jpg", None),
    "a script": ('filename="<img src=x onerror=alert(1)>.jpg"', None),
    "a format string": ('filename="%s%n{0.__class__}${jndi:ldap://x}.jpg"', None),
    "very long": ('filename="' + "a" * 5000 + '.jpg"', None),
    "nothing": ('filename=""', None),
    "dots": ('filename=".."', None),
}
