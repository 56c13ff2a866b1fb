"""Names of images in exports: unique, and harmless on every system."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from detections.images.extensions import data_set_extension
from detections.models import DetectionImage, Export

LONGEST_STEM = 180  # bytes: file systems take 255, and a number and an extension follow
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
FORBIDDEN = frozenset('<>:"|?*')  # on Windows
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")


class NamedImage(NamedTuple):
    """An image with its results, and the name of its picture in the export."""

    image: DetectionImage
    name: str

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]


def name_images(images: Iterable[DetectionImage], export: Export) -> Iterator[NamedImage]:
    """The images with their names. Owners' names are kept in mind: 100 bytes for each."""
    taken = TakenNames()
    for image in images:
        if export.names == Export.Names.ORIGINAL:
            stem, extension = split(image.original_name)
            stem = taken.take(harmless(stem))
        else:
            stem, extension = image.unique_stem, image.given_extension
        if export.images:
            extension = data_set_extension(image.extension)
        yield NamedImage(image, stem + (extension or image.given_extension))


def split(original_name: str) -> tuple[str, str]:
    """Stem and extension of the last part of a path; "" for an unusual extension, which is the stem's."""
    name = PurePosixPath(original_name.replace("\\", "/")).name
    extension = PurePosixPath(name).suffix
    if not EXTENSION.fullmatch(extension):
        return name, ""
    return name.removesuffix(extension), extension


def harmless(stem: str) -> str:
    """The stem without what a path, a terminal or Windows gives a meaning, in one form of Unicode."""
    plain = "".join(letter if is_plain(letter) else "_" for letter in unicodedata.normalize("NFC", stem))
    plain = plain.encode()[:LONGEST_STEM].decode(errors="ignore").strip(" .")
    return f"_{plain}" if DEVICES.fullmatch(plain) else plain or "image"


def is_plain(letter: str) -> bool:
    """Whether it is visible or a space, and no wildcard or separator."""
    return letter == " " or (letter not in FORBIDDEN and unicodedata.category(letter)[0] not in "CZ")


class TakenNames:
    """Makes stems unique, also where upper and lower case are the same."""

    def __init__(self) -> None:
        # By hashes, which take less memory: two names of one hash would only cost a number.
        self.last_numbers: dict[int, int] = {}

    def take(self, stem: str) -> str:
        """The stem; with a number, if it is taken."""
        name, number = stem, self.last_numbers.get(key_of(stem), 1)
        while key_of(name) in self.last_numbers:
            number += 1
            name = f"{stem}-{number}"
        self.last_numbers[key_of(stem)] = number
        self.last_numbers.setdefault(key_of(name), 1)
        return name


def key_of(stem: str) -> int:
    return hash(unicodedata.normalize("NFC", stem.casefold()))
