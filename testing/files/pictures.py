"""Sample pictures, good, odd and hostile, made in memory."""

import itertools
import struct
import zlib
from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw


def photo(width=64, height=64, colour=(200, 120, 40), comment=b""):
    """A JPEG of one colour."""
    return encoded(Image.new("RGB", (width, height), colour), "JPEG", comment=comment)


def picture(width=48, height=32, mode="RGB"):
    """Not symmetric in any way: red, with a green top-left quarter and a blue line down the right edge."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=(20, 180, 40))
    draw.line((width - 1, 0, width - 1, height), fill=(20, 40, 220))
    return image if mode == "RGB" else image.convert(mode)


def encoded(image, form="PNG", **options):
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def jpeg(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "JPEG", **options)


def png(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "PNG", **options)


def webp(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "WEBP", **options)


def bmp(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "BMP", **options)


def bmp_with_alpha(alpha):
    """The picture with 32 bits a pixel, as screenshots and scanners write them."""
    rgba = picture().convert("RGBA")
    rgba.putalpha(alpha)
    pixels = rgba.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, 48, 32, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
    return struct.pack("<2sIII", b"BM", 122 + len(pixels), 0, 122) + info.ljust(108, b"\0") + pixels


def tiff(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "TIFF", **options)


def heic(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "HEIF", **options)


def avif(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "AVIF", **options)


def heic_of_two():
    """Its second image, of 48 x 32 pixels, is the primary one."""
    other = Image.new("RGB", (64, 64), (0, 0, 0))
    return encoded(other, "HEIF", save_all=True, append_images=[picture()], primary_index=1)


def gif(width=48, height=32, **options):
    return encoded(picture(width, height, "P"), "GIF", **options)


def mpo(width=48, height=32):
    """A JPEG followed by another one, as phones write it."""
    return encoded(
        picture(width, height), "MPO", save_all=True, append_images=[picture(width // 2, height // 2)]
    )


def animated(form, frames=3, **options):
    images = [Image.new("RGB", (48, 32), (80 * index, 0, 100)) for index in range(frames)]
    return encoded(images[0], form, save_all=True, append_images=images[1:], **options)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def with_exif_orientation(orientation, width=48, height=32, form="JPEG"):
    """A picture as a camera held sideways stores it; `width` and `height` are those in the header."""
    return encoded(picture(width, height), form, exif=exif(orientation))


INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}  # of TIFF: struct formats


def orientation_entry(value, kind=3, count=1, order="<"):
    """A directory's entry; text is of the type 2."""
    if isinstance(value, str):
        kind, count, raw = 2, len(value) + 1, value.encode()
    else:
        raw = struct.pack(order + INTEGER_TYPES[kind], value) * count
    return struct.pack(order + "HHI", 274, kind, count) + raw.ljust(4, b"\0")[:4]


def raw_exif(*entries, order="<"):
    """A TIFF structure of these entries."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + b"".join(entries) + bytes(4)


def with_exifs(*exifs, form="JPEG"):
    """A picture of 48 x 32 pixels, not turned, that holds all of these EXIFs."""
    if form == "JPEG":
        data = jpeg()
        contents = (b"Exif\0\0" + each for each in exifs)
        segments = (b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in contents)
        return data[:2] + b"".join(segments) + data[2:]
    if form == "PNG":
        data = png()
        return data[:33] + b"".join(png_chunk(b"eXIf", each) for each in exifs) + data[33:]
    chunks = (b"EXIF" + struct.pack("<I", len(each)) + each for each in exifs)  # of even lengths
    return webp_claiming(48, 32, flags=8, behind=b"".join(chunks))


def thumbnailed(width=96, height=64):
    """A JPEG whose EXIF holds a whole smaller JPEG, end marker included."""
    inside = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + jpeg(16, 16)
    return (
        jpeg(width, height)[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(inside) + 2)
        + inside
        + jpeg(width, height)[2:]
    )


def truncated(data, keep=0.6):
    return data[: int(len(data) * keep)]


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width, height):
    """A whole, tiny PNG that says it is large."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + png_chunk(b"IEND", b"")
    )


def jpeg_claiming(width, height):
    data = jpeg()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def webp_claiming(width, height, flags=0, behind=b""):
    canvas = struct.pack("<II", width - 1, height - 1)
    extended = b"VP8X" + struct.pack("<II", 10, flags) + canvas[:3] + canvas[4:7]
    body = b"WEBP" + extended + webp()[12:] + behind
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_claiming(width, height):
    data = bmp()
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def gif_claiming(width, height, frame=(48, 32)):
    """A GIF whose screen and first frame may differ in size: decoders allocate the larger."""
    data = gif()
    at = 13 + 3 * 2 ** (data[10] % 8 + 1)
    while data[at : at + 1] != b",":
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    data = data[:6] + struct.pack("<HH", width, height) + data[10:]
    return data[: at + 5] + struct.pack("<HH", *frame) + data[at + 9 :]


def tiff_of(tags, pixels=bytes(48 * 32 * 3), order="<", entries=()):
    """A classic TIFF with these tags and numbers, and these raw entries; the pixels begin at byte 1,000."""
    tags = sorted(tags.items() if isinstance(tags, dict) else tags)
    numbers = (struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    return raw_exif(*numbers, *entries, order=order).ljust(1000, b"\0") + pixels


TIFF_TAGS = {256: 48, 257: 32, 258: 8, 259: 1, 262: 2, 273: 1000, 277: 3, 278: 32, 279: 48 * 32 * 3}


def tiff_with_multiplied_alpha(rgba, *, wide=False, compression=1, **tags):
    """A TIFF of 48 x 32 pixels that says that these colours are multiplied by their alpha already.

    `t274=6` is tag 274.
    """
    samples = rgba.tobytes()
    if wide:
        samples = bytes(byte for value in samples for byte in (value, value))
    if compression != 1:
        samples = zlib.compress(samples)
    bits = struct.pack("<HHII", 258, 3, 4, 900)
    every = {**TIFF_TAGS, 259: compression, 277: 4, 279: len(samples), 338: 1}
    every |= {int(name[1:]): value for name, value in tags.items()}
    del every[258]
    data = bytearray(tiff_of(every, samples, entries=[bits]))
    data[900:908] = struct.pack("<4H", *[16 if wide else 8] * 4)
    return bytes(data)


def big_tiff(width=48, height=32):
    """A BigTIFF, the 64-bit form of TIFF."""
    tags = {**TIFF_TAGS, 256: width, 257: height}
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in sorted(tags.items()))
    return (struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags)) + entries + bytes(8)).ljust(
        1000, b"\0"
    ) + bytes(48 * 32 * 3)


def tiff_pages(*pages, order="<", signature=b""):
    """A TIFF of these directories, {tag: numbers}; lists of pages are inside of the one before them.

    Each is filled with one grey: the first with 10, the second with 20 and so on.
    """
    every = [page for part in pages for page in (part if isinstance(part, list) else [part])]
    places = {id(page): 1000 + 400 * index for index, page in enumerate(every)}
    inside = {id(page): part for page, part in itertools.pairwise(pages) if isinstance(part, list)}
    chain = [id(page) for page in pages if not isinstance(page, list)]
    following = {here: places[behind] for here, behind in itertools.pairwise(chain)}
    data = bytearray(1000 + 400 * len(every))
    data[:16] = struct.pack(order + "2sHI8s", b"II" if order == "<" else b"MM", 42, 1000, signature)
    for index, page in enumerate(every):
        pixels = bytes([10 * (index + 1) % 256]) * (page[256] * page[257])
        tags = {258: 8, 259: 1, 262: 1, 273: len(data), 277: 1, 278: page[257], 279: len(pixels), **page}
        if id(page) in inside:
            tags[330] = [places[id(each)] for each in inside[id(page)]]
        data += pixels
        directory = _tiff_directory(tags, places[id(page)], order, following.get(id(page), 0))
        data[places[id(page)] : places[id(page)] + len(directory)] = directory
    return bytes(data)


def _tiff_directory(tags, place, order, following):
    entries, values = b"", b""
    behind = place + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        kind, form = (2, "s") if isinstance(value, bytes) else (4, "I")
        numbers = [value] if not isinstance(value, list) else value
        count = len(value) if isinstance(value, bytes) else len(numbers)
        packed = value if kind == 2 else struct.pack(f"{order}{count}{form}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack(order + "I", behind + len(values)), values + packed
        entries += struct.pack(order + "HHI4s", tag, kind, count, packed)
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + values


def many_scans(count):
    """A JPEG of so many empty scans that a decoder needs minutes."""
    data = jpeg(progressive=True)
    at = data.index(b"\xff\xda")
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:-2] + data[at : at + 2 + length] * count + b"\xff\xd9"


def many_pieces(count):
    """A PNG of many empty chunks."""
    data = png()
    return data[:33] + png_chunk(b"teXt", b"") * count + data[33:]


def filled(head, piece, tail, length=20 << 20):
    """A file of `length` bytes, filled with `piece` between the head and the tail."""
    return head + piece * ((length - len(head) - len(tail)) // len(piece)) + tail


def filled_gif(piece, before=b"", behind=b"", length=20 << 20):
    data = gif()
    at = 13 + 3 * 2 ** (data[10] % 8 + 1)
    return filled(data[:at] + before, piece, behind + data[at:], length)


def filled_jpeg(piece):
    data = jpeg()
    return filled(data[:2], piece, data[2:])


def filled_png(piece):
    data = png()
    return filled(data[:33], piece, data[33:])


def filled_webp(piece):
    body = filled(webp()[8:], piece, b"", (20 << 20) - 8)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_strips(count):
    """A TIFF of many strips that share the same bytes."""
    lengths = 200 + 4 * count
    tags = {256: (1, 16), 257: (1, 65_500), 258: (1, 8), 259: (1, 1), 262: (1, 1), 273: (count, 200)}
    tags |= {277: (1, 1), 278: (1, 1), 279: (count, lengths)}
    entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in tags.items())
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + struct.pack("<I", 0) * count + struct.pack("<I", 16) * count


# 20 MB of the pieces that take longest to walk: {name of the upload: a function that makes it}
SLOW = {
    "blocks.gif": lambda: filled_gif(b"\x01a", b"!\xfe", b"\0"),
    "larger-blocks.gif": lambda: filled_gif(b"\x1e" + bytes(30), b"!\xfe", b"\0"),
    "empty-blocks.gif": lambda: filled_gif(b"\0"),
    "empty-extensions.gif": lambda: filled_gif(b"!\xfe\0"),
    "extensions.gif": lambda: filled_gif(b"!\xfe\x37" + bytes(55) + b"\0"),
    "frames.gif": lambda: filled_gif(b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2D\1\0"),
    "chunks.png": lambda: filled_png(png_chunk(b"teXt", b"")),
    "larger-chunks.png": lambda: filled_png(png_chunk(b"teXt", bytes(240))),
    "chunks.webp": lambda: filled_webp(b"abcd" + bytes(4)),
    "larger-chunks.webp": lambda: filled_webp(b"abcd" + struct.pack("<I", 248) + bytes(248)),
    "segments.jpg": lambda: filled_jpeg(b"\xff\xe5\0\2"),
    "exif.jpg": lambda: filled_jpeg(b"\xff\xe1\0\x08Exif\0\0"),
    "filling.jpg": lambda: filled_jpeg(b"\xff"),
    "restarts.jpg": lambda: filled_jpeg(b"\xff\xd0"),
    "scan.jpg": lambda: filled(jpeg()[:-2], b"\xff\0", b"\xff\xd9"),
    "strips.tif": lambda: many_strips(1 << 18),
}

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(document.cookie)</script></html>"
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)
PSD = b"8BPS\0\x01" + bytes(100)
WAV = b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(32)

# {name of the upload: (its bytes, its error code)}
HOSTILE = {
    "empty.jpg": (b"", "empty"),
    "large.png": (png() + bytes(20 << 20), "too_large"),
    "bomb.png": (png_claiming(100_000, 100_000), "too_many_pixels"),
    "widest.png": (png_claiming(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    "bomb.jpg": (jpeg_claiming(65_500, 65_500), "too_many_pixels"),
    "bomb.webp": (webp_claiming(1 << 24, 1 << 24), "too_many_pixels"),
    "bomb.bmp": (bmp_claiming(60_000, -60_000), "too_many_pixels"),
    "bomb.gif": (gif_claiming(65_535, 65_535), "too_many_pixels"),
    "frame-larger-than-screen.gif": (gif_claiming(1, 1, frame=(65_535, 65_535)), "too_many_pixels"),
    "bomb.tif": (tiff_of({**TIFF_TAGS, 256: 100_000, 257: 100_000}), "too_many_pixels"),
    "tile-larger-than-picture.tif": (
        tiff_of({**TIFF_TAGS, 322: 65_520, 323: 65_520, 324: 1000, 325: 4608}),
        "too_many_pixels",
    ),
    "thin.png": (png_claiming(1, 50_000_000), "too_many_pixels"),
    "flat.bmp": (bmp_claiming(65_501, 1), "too_many_pixels"),
    "thin.tif": (tiff_of({**TIFF_TAGS, 257: 65_501}), "too_many_pixels"),
    "small-in-a-large-tile.tif": (
        tiff_of({**TIFF_TAGS, 322: 4096, 323: 4096, 324: 1000, 325: 4608}),
        "too_many_pixels",
    ),
    "many-strips.tif": (many_strips(1 << 19), "corrupt_image"),
    "drawing.svg": (SVG, "unsupported_format"),
    "svg-named.png": (SVG, "unsupported_format"),
    "page.jpg": (HTML, "unsupported_format"),
    "document.jpg": (PDF, "unsupported_format"),
    "postscript.jpg": (EPS, "unsupported_format"),
    "only-a-head.heic": (HEIC, "corrupt_image"),
    "photo.jp2": (JPEG_2000, "unsupported_format"),
    "layers.psd": (PSD, "unsupported_format"),
    "sound.webp": (WAV, "unsupported_format"),
    "letter.bmp": (b"BMW writes to you, and so this text begins as bitmaps do.", "unsupported_format"),
    "two-bytes.jpg": (b"\xff\xd8", "unsupported_format"),
    "html-then-jpeg.jpg": (HTML + jpeg(), "unsupported_format"),
    "pdf-then-png.png": (PDF + png(), "unsupported_format"),
    "newline-then-gif.gif": (b"\n" + gif(), "unsupported_format"),
    "zeros.png": (bytes(5000), "unsupported_format"),
    "cut.jpg": (truncated(jpeg()), "corrupt_image"),
    "cut-progressive.jpg": (truncated(jpeg(200, 200, progressive=True), 0.9), "corrupt_image"),
    "no-end.jpg": (jpeg()[:-2], "corrupt_image"),
    "cut-behind-thumbnail.jpg": (truncated(thumbnailed(), 0.9), "corrupt_image"),
    "only-a-header.jpg": (jpeg()[: jpeg().index(b"\xff\xda")] + b"\xff\xd9", "corrupt_image"),
    "two-sizes.jpg": (jpeg()[:2] + jpeg()[jpeg().index(b"\xff\xc0") :][:19] + jpeg()[2:], "corrupt_image"),
    "segment-too-long.jpg": (jpeg()[:4] + b"\xff\xff" + jpeg()[6:], "corrupt_image"),
    "many-scans.jpg": (many_scans(1000), "corrupt_image"),
    "no-width.jpg": (jpeg_claiming(0, 32), "corrupt_image"),
    "javascript.gif": (b"GIF89a=/*" + bytes(100) + b"*/alert(1);", "corrupt_image"),
    "cut.png": (truncated(png()), "corrupt_image"),
    "no-end-of-pixels.png": (png()[:-17], "corrupt_image"),
    "no-pixels.png": (png()[:33] + png_chunk(b"IEND", b""), "corrupt_image"),
    "no-height.png": (png_claiming(10, 0), "corrupt_image"),
    "header-changed.png": (png()[:16] + b"\0\0\0\1" + png()[20:], "corrupt_image"),
    "not-header-first.png": (png()[:8] + png_chunk(b"teXt", b"a\0b") + png()[8:], "corrupt_image"),
    "many-pieces.png": (many_pieces(50_000), "corrupt_image"),
    "cut.webp": (truncated(webp()), "corrupt_image"),
    "no-picture.webp": (b"RIFF\x04\0\0\0WEBP", "corrupt_image"),
    "cut.bmp": (truncated(bmp()), "corrupt_image"),
    "taller-than-its-pixels.bmp": (bmp_claiming(48, 64), "corrupt_image"),
    "negative-width.bmp": (bmp_claiming(-48, 32), "corrupt_image"),
    "cut.gif": (truncated(gif()), "corrupt_image"),
    "no-end-of-pixels.gif": (gif()[:-2], "corrupt_image"),
    "no-frame.gif": (gif()[:13] + bytes(768) + b";", "corrupt_image"),
    "cut.tif": (truncated(tiff_of(TIFF_TAGS)), "corrupt_image"),
    "strips-elsewhere.tif": (tiff_of({**TIFF_TAGS, 273: 0xFFFF_FF00}), "corrupt_image"),
    "two-widths.tif": (tiff_of([*TIFF_TAGS.items(), (256, 4)]), "corrupt_image"),
    "no-strips.tif": (tiff_of({256: 48, 257: 32}), "corrupt_image"),
    "directory-elsewhere.tif": (b"II*\0\xff\xff\xff\x7f" + bytes(100), "corrupt_image"),
}


def with_stray_bytes(stray):
    """A JPEG with these bytes before each of its first tables."""
    return jpeg().replace(b"\xff\xdb", stray + b"\xff\xdb")


@cache
def good():
    """Every format in usual and unusual forms, {name of the upload: (bytes, format)}; all 48 x 32."""
    return {
        "photo.jpg": (jpeg(), "jpeg"),
        "progressive.jpg": (jpeg(progressive=True), "jpeg"),
        "grey.jpg": (jpeg(mode="L"), "jpeg"),
        "print.jpg": (jpeg(mode="CMYK"), "jpeg"),
        "restarts.jpg": (jpeg(restart_marker_blocks=1), "jpeg"),
        "phone.jpg": (mpo(), "jpeg"),
        "thumbnail.jpg": (thumbnailed(48, 32), "jpeg"),
        "trailing.jpg": (jpeg() + b"appended", "jpeg"),
        "stray-byte.jpg": (with_stray_bytes(b"\0"), "jpeg"),
        "stray-bytes.jpg": (with_stray_bytes(b"stray\xff\0\xff\xff\0bytes"), "jpeg"),
        "segment-without-length.jpg": (jpeg()[:4] + b"\0\0" + jpeg()[6:], "jpeg"),
        "padded-with-zeros.jpg": (jpeg()[:-2] + bytes(100), "jpeg"),
        "named-wrongly.gif": (jpeg(), "jpeg"),
        "photo.png": (png(), "png"),
        "palette.png": (png(mode="P"), "png"),
        "black-and-white.png": (png(mode="1"), "png"),
        "alpha.png": (png(mode="RGBA"), "png"),
        "sixteen.png": (encoded(Image.new("I;16", (48, 32), 40_000), "PNG"), "png"),
        "animated.png": (animated("PNG"), "png"),
        "trailing.png": (png() + b"appended", "png"),
        "no-end.png": (png()[:-12], "png"),
        "no-checksum.png": (png()[:-16], "png"),
        "cut-behind-pixels.png": (png()[:-12] + png_chunk(b"tEXt", b"Title\0cut")[:-2], "png"),
        "lossy.webp": (webp(), "webp"),
        "lossless.webp": (webp(lossless=True), "webp"),
        "alpha.webp": (webp(mode="RGBA"), "webp"),
        "animated.webp": (animated("WEBP"), "webp"),
        "photo.bmp": (bmp(), "bmp"),
        "palette.bmp": (bmp(mode="P"), "bmp"),
        "top-down.bmp": (bmp_claiming(48, -32), "bmp"),
        "photo.tif": (tiff(), "tiff"),
        "packed.tif": (tiff(compression="tiff_lzw"), "tiff"),
        "deflated.tif": (tiff(compression="tiff_adobe_deflate"), "tiff"),
        "float.tif": (encoded(Image.new("F", (48, 32), 0.5), "TIFF"), "tiff"),
        "pages.tif": (animated("TIFF"), "tiff"),
        "big-endian.tif": (tiff_of(TIFF_TAGS, order=">"), "tiff"),
        "big.tif": (big_tiff(), "tiff"),
        "photo.gif": (gif(), "gif"),
        "animated.gif": (animated("GIF"), "gif"),
        "photo.heic": (heic(), "heic"),
        "grey.heic": (heic(mode="L"), "heic"),
        "alpha.heic": (heic(mode="RGBA"), "heic"),
        "tiles.heic": (heic(tile_size=32), "heic"),
        "two.heic": (heic_of_two(), "heic"),
        "trailing.heic": (heic() + b"appended", "heic"),
        "photo.avif": (avif(), "avif"),
        "grey.avif": (avif(mode="L"), "avif"),
        "alpha.avif": (avif(mode="RGBA"), "avif"),
        "animated.avif": (animated("AVIF"), "avif"),
        "no-end.gif": (gif()[:-1], "gif"),
        "stray-bytes.gif": (gif()[:-1] + b"stray", "gif"),
    }


def png_with(*chunks):
    """A PNG with these chunks before its pixels, as they stand."""
    return png()[:33] + b"".join(chunks) + png()[33:]


def with_wrong_checksum(chunk):
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


def bmp_of_bit_fields(*masks, bits=32):
    """A BMP with these masks of red, green, blue and perhaps alpha; else as `picture`."""
    colours = picture().transpose(Image.Transpose.FLIP_TOP_BOTTOM).get_flattened_data()
    numbers = [_in_fields((*colour, 255), masks) for colour in colours]
    pixels = struct.pack(f"<{len(numbers)}{'I' if bits == 32 else 'H'}", *numbers)
    header = struct.pack("<IiiHHIIiiII", 40, 48, 32, 1, bits, 6 if len(masks) > 3 else 3, 0, 0, 0, 0, 0)
    header += struct.pack(f"<{len(masks)}I", *masks)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + pixels


def bmp_of_runs(said=None, end=b"\0\1"):
    """A BMP of RLE8 in greys that says this length of its runs; rows of 0, 8, 16 … from the bottom."""
    runs = b"".join(bytes([48, 8 * row]) + b"\0\0" for row in range(32))[:-2] + end
    palette = b"".join(bytes([grey] * 3 + [0]) for grey in range(256))
    header = struct.pack(
        "<IiiHHIIiiII", 40, 48, 32, 1, 8, 1, len(runs) if said is None else said, 0, 0, 256, 0
    )
    place = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", place + len(runs), 0, 0, place) + header + palette + runs


def _in_fields(channels, masks):
    lowest = [mask & -mask for mask in masks]
    return sum(
        round(value * (mask // low) / 255) * low
        for value, mask, low in zip(channels, masks, lowest, strict=False)
    )


def big_endian_big_tiff(**tags):
    """What Pillow does not read; `t274=6` is tag 274."""
    pixels = picture().tobytes()
    place = 16 + 8 + 20 * (len(TIFF_TAGS) + len(tags)) + 8
    every = {**TIFF_TAGS, 273: place, **{int(name[1:]): value for name, value in tags.items()}}
    entries = b"".join(struct.pack(">HHQQ", tag, 16, 1, value) for tag, value in sorted(every.items()))
    return struct.pack(">2sHHHQQ", b"MM", 43, 8, 0, 16, len(every)) + entries + bytes(8) + pixels


def untidy():
    """What Pillow refuses for its metadata or its layout, {name of the upload: bytes}; all as `picture`."""
    resolution = png_chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20)))
    profile = png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100)))
    return {
        "resolution-sum.png": png_with(with_wrong_checksum(resolution)),
        "profile-sum.png": png_with(with_wrong_checksum(profile)),
        "large-text.png": png_with(text),
        "large-text-behind.png": png()[:-12] + text + png()[-12:],
        "short-resolution.png": png_with(png_chunk(b"pHYs", b"\0\0")),
        "profile-method.png": png_with(png_chunk(b"iCCP", b"profile\0\7" + bytes(100))),
        "no-transparency.png": png_with(png_chunk(b"tRNS", b"")),
        "short-transparency.png": png_with(png_chunk(b"tRNS", b"\0")),
        "animation.png": png_with(png_chunk(b"acTL", struct.pack(">II", 2, 0)), png_chunk(b"fdAT", bytes(9))),
        "cut-behind-pixels.png": png()[:-12] + png_chunk(b"tEXt", b"Title\0cut")[:-9],
        "fields-of-six-bits.bmp": bmp_of_bit_fields(0x3F << 26, 0x3F << 14, 0x3F << 2),
        "padded-with-fill-bytes.jpg": jpeg(quality=100, subsampling=0)[:-2] + b"\xff" * 8,
        "fields-elsewhere.bmp": bmp_of_bit_fields(0xFF << 24, 0xFF << 4, 0xFF << 16),
        "fields-of-three-bits.bmp": bmp_of_bit_fields(7 << 13, 7 << 4, 7, bits=16),
        "fields-of-ten-bits.bmp": bmp_of_bit_fields(0x3FF << 20, 0x3FF << 10, 0x3FF, 3 << 30),
        "big-endian-big.tif": big_endian_big_tiff(),
    }


WORDS = (
    b"\xff\xff\xff\xff",
    bytes(4),
    b"\x7f\xff\xff\xff",
    b"\0\0\0\1",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xc0",
)
DAMAGES = (
    lambda chance, part: chance.randbytes(1) + part[1:],
    lambda chance, part: chance.choice(WORDS) + part[4:],
    lambda _chance, _part: b"",
    lambda _chance, part: part + part,
    lambda chance, part: part + chance.randbytes(chance.randrange(1, 10)),
    lambda _chance, part: part[::-1],
)


def damaged(data, chance):
    """A few places changed, cut out, doubled, inserted or reversed; the end cut off now and then."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        reach = min(len(data), chance.choice((32, 200, len(data))))  # headers stand in front
        start = chance.randrange(reach + 1)
        end = start + chance.randrange(1, 40)
        data = data[:start] + chance.choice(DAMAGES)(chance, data[start:end]) + data[end:]
    return data if chance.random() < 0.9 else data[: chance.randrange(len(data) + 1)]
