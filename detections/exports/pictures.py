"""The pictures of an export: upright, without metadata, each before its labels."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from detections.exports.file_names import NamedImage
from detections.exports.zip_writer import Archive
from detections.rendering import NoPictureError, wait_for_picture
from detections.storage import temporary_file


def take_any_space(_length: int) -> None:
    pass


def add_pictures(
    archive: Archive, items: Iterable[NamedImage], folder: str, check_space: Callable[[int], None]
) -> Iterator[NamedImage]:
    """The images whose pictures are in the archive by now. `missing.txt` names the others, and why."""
    with temporary_file() as missing:
        for item in items:
            try:
                stream = wait_for_picture(item.image, upright=True)
            except NoPictureError as error:
                missing.write(f"{item.name} ({item.image.pk}): {error}\n".encode())
                continue
            with closing(stream):
                check_space(stream.length)
                for _ in archive.adding(f"{folder}/{item.name}", stream.blocks(), level=0):
                    pass
            yield item
        if missing.tell():
            archive.add_file("missing.txt", missing)
