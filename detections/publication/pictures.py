"""The pictures that visitors see: drawn once, and kept beside the upload until something of them changes."""

from hashlib import sha256
from uuid import UUID

from detections import rendering, storage
from detections.models import DetectionImage
from detections.rendering import FilePieces, labels_of
from objectvision import __version__

VISITORS = UUID(int=0)  # draw pictures as one user does, so that they do not hold up the owners
MOST_WAITING = 1000  # visitors: each of them has a thread already


def shown_picture(image: DetectionImage, version: str) -> FilePieces:
    """The picture with its boxes, kept as of a version of its detection. Raises as `annotated_picture`."""
    mark = sha256(f"{__version__} {image.pk} {version}".encode()).digest()
    return kept_picture(image, mark) or new_picture(image, mark)


def kept_picture(image: DetectionImage, mark: bytes) -> FilePieces | None:
    """The kept picture, which lies behind its mark. None if it is of another version."""
    try:
        with storage.open_file(storage.shown_path(image.image_path)) as file:
            return FilePieces.of(file.read()) if file.read(len(mark)) == mark else None
    except storage.FileMissingError:
        return None


def new_picture(image: DetectionImage, mark: bytes) -> FilePieces:
    labels = labels_of(image, 0, "")
    with (
        storage.open_file(image.image_path) as file,
        rendering.drawing.slot(VISITORS, MOST_WAITING),
    ):
        if kept := kept_picture(image, mark):  # drawn while this waited
            return kept
        content = rendering.drawn(file, labels)
        keep_picture(image, mark + content)
    return FilePieces.of(content)


def keep_picture(image: DetectionImage, content: bytes) -> None:
    path = storage.shown_path(image.image_path)
    storage.replace_file(path, content)
    if not DetectionImage.objects.filter(pk=image.pk).exists():  # deleted before the picture was there
        storage.delete_file(path)
