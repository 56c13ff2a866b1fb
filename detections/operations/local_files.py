"""Detects objects in files of this machine, without writing rows or files of the storage."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ValidationError

from detections import inference
from detections.images import pixels
from detections.images.annotation import annotate
from detections.images.validation import read_image

SAFE_LENGTH = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to look at. `named` says that it was given by name, not found in a folder."""

    path: Path
    named: bool
    picture: Path | None = None
    """The path of its annotated picture."""

    def may_skip(self, error: BaseException) -> bool:
        """Whether this error is none: folders may hold files that are no pictures."""
        kind = error.code if isinstance(error, ValidationError) else ""
        return not self.named and kind == "unsupported_format"


def candidates(paths: Iterable[Path], output: Path | None, *, recursive: bool) -> list[Candidate]:
    """Every file once. Hidden files count only if they are named."""
    named: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            for file, unreadable in files_in(path, output, recursive=recursive):
                named.setdefault(file, unreadable)
        else:
            named[path] = True
    names = picture_paths(named, output) if output else iter([None] * len(named))
    return [Candidate(path, by_name, next(names)) for path, by_name in named.items()]


def files_in(folder: Path, output: Path | None, *, recursive: bool) -> Iterator[tuple[Path, bool]]:
    """The files of a folder in order, then the folders that cannot be read, marked by True."""
    unreadable: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(error.filename)):
        below = [name for name in sorted(folders) if recursive and not name.startswith(".")]
        folders[:] = [name for name in below if not is_same(Path(parent, name), output)]
        yield from ((Path(parent, name), False) for name in sorted(names) if not name.startswith("."))
    yield from ((Path(path), True) for path in unreadable)


def is_same(folder: Path, output: Path | None) -> bool:
    """Whether this is the output folder: pictures of an earlier run are no input."""
    return output is not None and output.exists() and folder.samefile(output)


def picture_paths(files: Iterable[Path], output: Path) -> Iterator[Path]:
    """A safe path for each file; none exists yet, and none differs from another only in case."""
    taken = {file.name.lower() for file in output.iterdir()}
    numbers: Counter[str] = Counter()
    for file in files:
        stem = re.sub(r"[^\w.-]+", "_", file.stem).strip("._")[:SAFE_LENGTH] or "picture"
        name = f"{stem}.jpg"
        while name.lower() in taken:
            numbers[stem] += 1
            name = f"{stem}-{numbers[stem] + 1}.jpg"
        taken.add(name.lower())
        yield output / name


def detect_in_file(
    candidate: Candidate, detector: inference.LoadedDetector, options: inference.Options, *, alone: bool
) -> inference.Found:
    """Detect objects and write the annotated picture, if wanted.

    Raises ValidationError, OSError, DecodeError, UnreadableImageError.
    """
    data = read_picture(candidate.path)
    found = detector.predict(data, options, alone=alone)
    if candidate.picture:
        picture = annotated(data, found)
        with candidate.picture.open("xb") as file:  # never overwrites a file
            file.write(picture)
    return found


def read_picture(path: Path) -> bytes:
    """A file that would be accepted as an upload. Raises ValidationError, OSError."""
    if path.exists() and not path.is_file():  # reading a pipe would block
        raise ValidationError("It cannot be read as a file.", code="no_file")
    with path.open("rb") as file:
        read_image(file)
        return file.read()


def annotated(data: bytes, found: inference.Found) -> bytes:
    return pixels.jpeg(annotate(pixels.upright(data), found.boxes))


def explain_error(error: BaseException) -> str:
    """Why a file failed, as a sentence for the operator if the error has one."""
    match error:
        case ValidationError():
            return error.messages[0]
        case OSError(strerror=str() as text):
            return f"{text}."
        case inference.DecodeError() | pixels.UnreadableImageError():
            return str(error)
    return f"{type(error).__name__}: {error}"
