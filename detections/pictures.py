"""Pixels in the web process, by Pillow: one upright RGB picture, with boxes drawn on it, as a clean JPEG.

A picture takes four bytes a pixel, and twice that for a moment where it must be turned or lose its transparency:
callers bound how many are in hand at once. Sizes were checked before (validators); Pillow's own limit stays as it
is behind that, refusing above 179 megapixels.
"""

import colorsys
import math
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, ImageDraw, ImageFont

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO")
JPEG_LONGEST_SIDE = 65_500  # libjpeg's limit

type_of_font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


class UnreadableImage(ValueError):  # noqa: N818 - the contract's name
    """Says why, as a sentence for the picture's owner."""
