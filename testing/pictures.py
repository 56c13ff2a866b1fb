"""Sample pictures, good, odd and hostile, made in memory."""

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageDraw


def picture(width=48, height=32, mode="RGB"):
    """Not symmetric in any way: red, with a green top-left quarter and a blue line down the right edge."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=(20, 180, 40))
    draw.line((width - 1, 0, width - 1, height), fill=(20, 40, 220))
    return image if mode == "RGB" else image.convert(mode)


def encoded(image, form, **options):
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


def tiff(width=48, height=32, mode="RGB", **options):
    return encoded(picture(width, height, mode), "TIFF", **options)


def gif(width=48, height=32, **options):
    return encoded(picture(width, height, "P"), "GIF", **options)


def mpo(width=48, height=32):
    """What phones write: a JPEG with another one behind it."""
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
    """As a camera held sideways stores it; `width` and `height` are those of the file's header."""
    return encoded(picture(width, height), form, exif=exif(orientation))


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


def webp_claiming(width, height):
    canvas = struct.pack("<II", width - 1, height - 1)
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas[:3] + canvas[4:7]
    body = b"WEBP" + extended + webp()[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_claiming(width, height):
    data = bmp()
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def gif_claiming(width, height, frame=(48, 32)):
    """Its screen and its first frame may disagree: decoders make room for the larger."""
    data = gif()
    at = 13 + 3 * 2 ** (data[10] % 8 + 1)
    while data[at : at + 1] != b",":
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    data = data[:6] + struct.pack("<HH", width, height) + data[10:]
    return data[: at + 5] + struct.pack("<HH", *frame) + data[at + 9 :]


def tiff_of(tags, pixels=bytes(48 * 32 * 3), order="<"):
    """A classic TIFF with these tags and numbers; the pixels begin at byte 1,000."""
    tags = sorted(tags.items() if isinstance(tags, dict) else tags)
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    head = (
        struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags)) + entries + bytes(4)
    )
    return head.ljust(1000, b"\0") + pixels


TIFF_TAGS = {256: 48, 257: 32, 258: 8, 259: 1, 262: 2, 273: 1000, 277: 3, 278: 32, 279: 48 * 32 * 3}


def big_tiff(width=48, height=32):
    """The 64-bit form of the same."""
    tags = {**TIFF_TAGS, 256: width, 257: height}
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in sorted(tags.items()))
    return (struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags)) + entries + bytes(8)).ljust(
        1000, b"\0"
    ) + bytes(48 * 32 * 3)


def many_scans(count):
    """A JPEG made of so many empty scans that a decoder would be busy for minutes."""
    data = jpeg(progressive=True)
    at = data.index(b"\xff\xda")
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:-2] + data[at : at + 2 + length] * count + b"\xff\xd9"


def many_pieces(count):
    """A PNG made of so many empty chunks that walking them would be work."""
    data = png()
    return data[:33] + png_chunk(b"teXt", b"") * count + data[33:]


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(document.cookie)</script></html>"
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)
PSD = b"8BPS\0\x01" + bytes(100)
WAV = b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(32)

# name of the upload: (its bytes, the code of its refusal)
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
    "drawing.svg": (SVG, "unsupported_format"),
    "svg-named.png": (SVG, "unsupported_format"),
    "page.jpg": (HTML, "unsupported_format"),
    "document.jpg": (PDF, "unsupported_format"),
    "postscript.jpg": (EPS, "unsupported_format"),
    "photo.heic": (HEIC, "unsupported_format"),
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
    "segment-without-length.jpg": (jpeg()[:4] + b"\0\0" + jpeg()[6:], "corrupt_image"),
    "many-scans.jpg": (many_scans(1000), "corrupt_image"),
    "no-width.jpg": (jpeg_claiming(0, 32), "corrupt_image"),
    "javascript.gif": (b"GIF89a=/*" + bytes(100) + b"*/alert(1);", "corrupt_image"),
    "cut.png": (truncated(png()), "corrupt_image"),
    "no-end.png": (png()[:-12], "corrupt_image"),
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
    "no-end.gif": (gif()[:-1], "corrupt_image"),
    "no-frame.gif": (gif()[:13] + bytes(768) + b";", "corrupt_image"),
    "cut.tif": (truncated(tiff_of(TIFF_TAGS)), "corrupt_image"),
    "strips-elsewhere.tif": (tiff_of({**TIFF_TAGS, 273: 0xFFFF_FF00}), "corrupt_image"),
    "two-widths.tif": (tiff_of([*TIFF_TAGS.items(), (256, 4)]), "corrupt_image"),
    "no-strips.tif": (tiff_of({256: 48, 257: 32}), "corrupt_image"),
    "directory-elsewhere.tif": (b"II*\0\xff\xff\xff\x7f" + bytes(100), "corrupt_image"),
}


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
        "named-wrongly.gif": (jpeg(), "jpeg"),
        "photo.png": (png(), "png"),
        "palette.png": (png(mode="P"), "png"),
        "black-and-white.png": (png(mode="1"), "png"),
        "alpha.png": (png(mode="RGBA"), "png"),
        "sixteen.png": (encoded(Image.new("I;16", (48, 32), 40_000), "PNG"), "png"),
        "animated.png": (animated("PNG"), "png"),
        "trailing.png": (png() + b"appended", "png"),
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
    }
