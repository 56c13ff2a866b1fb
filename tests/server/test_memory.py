"""Memory of the most expensive accepted pictures, each measured in its own process."""

import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import pytest
from PIL import Image

from detections.images import pixels
from detections.images.validation import read_image
from testing.files import heif, pictures
from testing.stacks import ROOT

MEGABYTE = 1 << 20
SIDE = 5_000  # memory grows with the pixels, so half of the accepted maximum suffices
PIXELS = SIDE * SIDE
DEEDS = ["decode", "annotate", "give out"]
# Prints by how much the most memory that a process ever had grew, in bytes: a deed a line, each in a fork.
MEASURE = """
import os, re, sys
from pathlib import Path
from PIL import Image
import cv2, numpy, simplejpeg
from detections.images import pixels, stripping
from detections.images.annotation import annotate
from detections.images.boxes import Box
from detections.inference import decoding
Image.preinit()
def most():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def do(deed, name):
    with open(name, "rb") as file:
        match deed:
            case "decode":
                decoding.decode(file.read())
            case "annotate":
                labels = [Box(1, "cat", 0.5, 0.1, 0.1, 0.5, 0.5)]
                pixels.jpeg(annotate(pixels.upright(file), labels))
            case "give out":
                stripping.without_metadata(file, Path(name).suffix)
name, *deeds = sys.argv[1:]
for deed in deeds:
    child = os.fork()
    if not child:
        before = most()
        do(deed, name)
        print(most() - before, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, deed
"""
# Prints how much more than before is left with the process after threads have drawn, in bytes.
RETURNED = r"""
import re, sys
from pathlib import Path
from threading import Thread
from PIL import Image
from detections.images import pixels
from detections.images.annotation import annotate
Image.preinit()
def now():
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def draw():
    with open(sys.argv[1], "rb") as file:
        pixels.jpeg(annotate(pixels.upright(file), []))
before = now()
for _ in range(3):
    threads = [Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(now() - before)
"""


def zeros(count):
    packer = zlib.compressobj()
    block = bytes(MEGABYTE)
    packed = b"".join(packer.compress(block) for _ in range(count // MEGABYTE))
    return packed + packer.compress(bytes(count % MEGABYTE)) + packer.flush()


def png(width, height, bits, colour, channels, *chunks):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zeros(height * (1 + width * channels * bits // 8))
    every = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pictures.png_chunk(kind, content) for kind, content in every)


def tiff(bits, channels, colours):
    """A TIFF of one deflated strip."""
    pixels = zeros(PIXELS * channels * bits // 8)
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 8, 262: colours, 273: 1000, 277: channels, 278: SIDE}
    content = pictures.tiff_of({**tags, 279: len(pixels)}, pixels)
    at = content.index(struct.pack("<HHII", 258, 4, 1, bits))
    sizes = struct.pack("<HHII", 258, 3, channels, 900)
    content = content[:at] + sizes + content[at + 12 :]
    return content[:900] + struct.pack(f"<{channels}H", *[bits] * channels).ljust(100, b"\0") + content[1000:]


def tiles_of_ten_bits():
    """The same tile again and again, since encoding so many pixels takes long."""
    import pillow_heif

    out = BytesIO()
    pillow_heif.from_bytes("RGB;16", (512, 512), bytes(512 * 512 * 6)).save(out, chroma=444)
    configuration, pixels = heif.taken_apart(out.getvalue(), b"heic")
    tile = heif.Item(b"hvc1", pixels, (heif.size(512, 512), configuration))
    return heif.assembled(b"heic", [heif.grid(10, 10, SIDE, SIDE), tile], [(b"dimg", 1, [2] * 100)])


def plain(mode, colour, form, size=(SIDE, SIDE), **options):
    return lambda: pictures.encoded(Image.new(mode, size, colour), form, **options)


TURNED = (b"eXIf", pictures.exif(6).tobytes()[6:])
WORST = {
    "still.webp": plain("RGB", 9, "WEBP", method=0),
    "lossless.webp": plain("RGBA", (9, 9, 9, 9), "WEBP", method=0, lossless=True, quality=0),
    "inks.jpg": plain("CMYK", (1, 2, 3, 4), "JPEG", progressive=True, exif=pictures.exif(6)),
    "progressive.jpg": plain("RGB", 9, "JPEG", progressive=True, subsampling=0),
    "wide.jpg": plain("RGB", 9, "JPEG", (65_500, 381), progressive=True, subsampling=0),
    "grey-and-alpha.png": lambda: png(SIDE, SIDE, 8, 4, 2, TURNED),
    "transparent.png": lambda: png(SIDE, SIDE, 8, 2, 3, (b"tRNS", bytes(6))),
    "sixteen.png": lambda: png(SIDE, SIDE, 16, 0, 1, TURNED),
    "tall.png": lambda: png(381, 65_500, 8, 6, 4),
    "thin.png": lambda: png(1, 65_500, 8, 6, 4),
    "sixteen.tiff": lambda: tiff(16, 4, 5),
    "real-numbers.tiff": plain("F", 0.5, "TIFF", compression="tiff_adobe_deflate"),
    "large-screen.gif": lambda: pictures.gif_claiming(SIDE, SIDE),
    "tiles.heic": tiles_of_ten_bits,
    "turned.avif": plain("RGBA", (9, 9, 9, 9), "AVIF", speed=10, subsampling="4:4:4", exif=pictures.exif(6)),
}
# Bytes a pixel of decoders that need more than the picture in its file and in RGB.
DECODERS = {
    "still.webp": pixels.MOST_BYTES_A_PIXEL,
    "lossless.webp": pixels.MOST_BYTES_A_PIXEL,
    "inks.jpg": 12,
    "progressive.jpg": 10.5,
    "wide.jpg": 10.5,
    "sixteen.tiff": 12,
    "tiles.heic": 16,
    "turned.avif": 14,
}


@pytest.fixture(scope="module", params=WORST)
def worst(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("worst") / request.param
    file.write_bytes(WORST[request.param]())
    return file


@pytest.fixture(scope="module")
def measured(worst):
    return growths(worst, *DEEDS)


def growths(file, *deeds):
    """Bytes by deed."""
    command = [sys.executable, "-c", MEASURE, file, *deeds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(deeds, map(int, done.stdout.split()), strict=True))


@pytest.mark.parametrize("deed", DEEDS)
def test_the_most_expensive_pictures_stay_within_their_memory_estimate(worst, measured, deed):
    with worst.open("rb") as content:
        facts = read_image(content)
    allowed = DECODERS.get(worst.name, 8) * facts.width * facts.height
    assert measured[deed] < allowed + 20 * MEGABYTE


@pytest.mark.parametrize(("orientation", "copies"), [(1, 1), (3, 1), (6, 2)])
def test_a_jpeg_is_decoded_without_a_copy_and_turned_with_one(tmp_path, orientation, copies):
    file = tmp_path / "photo.jpg"
    file.write_bytes(plain("RGB", 9, "JPEG", exif=pictures.exif(orientation))())
    assert growths(file, "decode")["decode"] < copies * 3 * PIXELS + 20 * MEGABYTE


def test_memory_of_drawn_pictures_returns_to_the_system(tmp_path):
    file = tmp_path / "still.webp"
    file.write_bytes(WORST["still.webp"]())
    measured = subprocess.run(
        [sys.executable, "-c", RETURNED, file], cwd=ROOT, capture_output=True, text=True
    )
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout) < 20 * MEGABYTE
