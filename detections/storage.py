"""Files of rows, used without a database connection in hand; temporary files."""

import logging
import tempfile
from collections.abc import Collection
from typing import IO

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile

from objectvision.lib import connections

log = logging.getLogger(__name__)


class FileMissingError(Exception):
    """The row has a path, and the storage has no such file."""


def open_file(path: str) -> IO[bytes]:
    """The file, to be closed by the caller. Raises FileMissingError."""
    connections.give_back()  # others need it while the storage takes its time
    try:
        return default_storage.open(path)
    except FileNotFoundError as error:
        raise FileMissingError(path) from error


def temporary_file() -> IO[bytes]:
    """An empty file that is gone when it is closed, however this process ends."""
    return tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # the caller's to close


def thumbnail_path(path: str) -> str:
    """Where the thumbnail of a picture lies: it is found without a row, and deleted with the picture."""
    return f"{path}.thumbnail.webp"


def shown_path(path: str) -> str:
    """Where the picture with boxes lies that visitors saw last: as `thumbnail_path`."""
    return f"{path}.shown.jpg"


def replace_file(path: str, content: bytes) -> None:
    """As `keep_file`, in place of what may be there."""
    delete_file(path)
    keep_file(path, content)


def keep_file(path: str, content: bytes) -> None:
    """Store what can be made anew: wholly or not at all. A storage that fails is a line in the log."""
    try:
        with TemporaryUploadedFile("kept", "", len(content), None) as file:  # moved by one rename
            file.write(content)
            file.flush()
            stored = default_storage.save(path, file)
    except OSError as error:
        log.warning("The file %s is not kept: %s", path, error)
        return
    if stored != path:  # another request was faster
        delete_file(stored)


def delete_pictures(paths: Collection[str]) -> bool:
    """Delete pictures with what was made of them, as `delete_files`."""
    return delete_files([*paths, *map(thumbnail_path, paths), *map(shown_path, paths)])


def delete_folder(path: str) -> bool:
    """Delete the folder with all that is in it, files without rows included.

    Returns whether nothing is left.
    """
    connections.give_back()  # as above
    try:
        folders, files = default_storage.listdir(path)
    except FileNotFoundError:  # an object store has no folders
        return True
    except OSError:
        log.exception("The folder %s is left in the storage", path)
        return False
    gone = [delete_folder(f"{path}/{folder}") for folder in folders]
    return delete_files([*(f"{path}/{file}" for file in files), path]) and all(gone)


def delete_files(paths: Collection[str]) -> bool:
    """Whether all are gone; a file that cannot be deleted does not keep the others."""
    connections.give_back()  # as above
    gone = [delete_file(path) for path in paths]
    return all(gone)


def delete_file(path: str) -> bool:
    """Whether the file is gone; a failing storage is a line in the log."""
    try:
        default_storage.delete(path)
    except OSError:
        log.exception("The file %s is left in the storage", path)
        return False
    return True
