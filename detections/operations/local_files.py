"""Detects in files of this machine. Writes no rows, and nothing into the storage."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ValidationError

from detections import inference, pictures
from detections.validators import read_image

SAFE_LENGTH = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file, and whether it was asked for by name or merely met in a folder."""

    path: Path
    named: bool
    picture: Path | None = None
    """Where its annotated picture goes."""

    def passes_over(self, error: BaseException) -> bool:
        """In a folder there may be files that are no pictures."""
        kind = error.code if isinstance(error, ValidationError) else ""
        return not self.named and kind == "unsupported_format"


def candidates(paths: Iterable[Path], output: Path | None, *, recursive: bool) -> list[Candidate]:
    """Every file once. Those whose name begins with a dot have to be named."""
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
    """The files in order, and the folders that cannot be read: those are marked, for they are failures."""
    unreadable: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(error.filename)):
        below = [name for name in sorted(folders) if recursive and not name.startswith(".")]
        folders[:] = [name for name in below if not is_same(Path(parent, name), output)]
        yield from ((Path(parent, name), False) for name in sorted(names) if not name.startswith("."))
    yield from ((Path(path), True) for path in unreadable)


def is_same(folder: Path, output: Path | None) -> bool:
    """What a run before this one has drawn is not looked at again."""
    return output is not None and output.exists() and folder.samefile(output)


def picture_paths(files: Iterable[Path], output: Path) -> Iterator[Path]:
    """A safe name for each, that no other has and that no file there has, whatever its case."""
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


def detect(
    candidate: Candidate, detector: inference.LoadedDetector, options: inference.Options, *, alone: bool
) -> inference.Found:
    """What is found, also drawn. Raises ValidationError, OSError, DecodeError, UnreadableImage."""
    data = read(candidate.path)
    found = detector.predict(data, options, alone=alone)
    if candidate.picture:
        picture = annotated(data, found)
        with candidate.picture.open("xb") as file:  # never over another file
            file.write(picture)
    return found


def read(path: Path) -> bytes:
    """A file that an upload might be."""
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise ValidationError("It cannot be read as a file.", code="no_file")
    with path.open("rb") as file:
        read_image(file)
        return file.read()


def annotated(data: bytes, found: inference.Found) -> bytes:
    labels = [
        pictures.Label(box.object_class, box.class_id, box.confidence, box.x, box.y, box.width, box.height)
        for box in found.boxes
    ]
    return pictures.jpeg(pictures.annotate(pictures.upright(data), labels))


def reason(error: BaseException) -> str:
    """For whoever asked, in a sentence where there is one."""
    match error:
        case ValidationError():
            return error.messages[0]
        case OSError(strerror=str() as text):
            return f"{text}."
        case inference.DecodeError() | pictures.UnreadableImage():
            return str(error)
    return f"{type(error).__name__}: {error}"
