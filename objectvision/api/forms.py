"""Reads multipart forms as cameras and other small devices write them.

Accepts line ends without a carriage return, file names in Latin-1, pictures without a file name, and a form
that ends without its last boundary. Django's parser does the rest, with its limits.
"""

import re
from collections.abc import Generator, Iterable
from typing import IO, Any
from uuid import uuid4

from django.http.multipartparser import MultiPartParser as DjangoParser
from django.http.multipartparser import MultiPartParserError
from django.utils.http import parse_header_parameters
from rest_framework import parsers
from rest_framework.exceptions import ParseError

from objectvision.api.parsers import encoding_of

CHUNK = 64 << 10
MOST_HEAD_BYTES = 1 << 10  # of one part, as in Django
DISPOSITION = re.compile("content-disposition:", re.IGNORECASE)
PICTURE = re.compile("content-type: *image/")
# Of a part's content; Django reads base64 besides those that change nothing, and ignores the others.
ENCODED = re.compile(
    "content-(?:transfer-)?encoding:(?! *(?:7bit|8bit|binary|identity|base64)? *$)", re.IGNORECASE
)
UNNAMED = "unnamed"
LINE_END, BLANK_LINE, FOLD = re.compile(rb"\r?\n"), re.compile(rb"\r?\n\r?\n"), re.compile(rb"\r?\n[ \t]+")

Headers = list[tuple[str, dict[str, str]]]  # each header in lower case, and its options


class MultiPartParser(parsers.MultiPartParser):
    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        request = parser_context["request"]
        kind, separator, options = str(media_type).partition(";")  # Django takes lower case alone
        meta = {**request.META, "CONTENT_TYPE": kind.lower() + separator + options}
        try:
            form = FormParser(meta, stream, request.upload_handlers, encoding_of(parser_context))
            return parsers.DataAndFiles(*form.parse())
        except MultiPartParserError as error:
            raise ParseError(f"Multipart form parse error - {error}") from error


class FormParser(DjangoParser):
    """Django's, which gets the form rewritten with a boundary that no content has by chance."""

    def __init__(self, meta: Any, stream: Any, handlers: Any, encoding: str) -> None:
        DjangoParser(meta, stream, handlers, encoding)  # refuses bad types and boundaries; reads nothing
        _, options = parse_header_parameters(meta["CONTENT_TYPE"])
        boundary = uuid4().hex
        form: Any = RewrittenForm(stream, options["boundary"].encode("ascii"), boundary.encode())
        new_type = f"multipart/form-data; boundary={boundary}"
        super().__init__({**meta, "CONTENT_TYPE": new_type}, form, handlers, encoding)

    def sanitize_file_name(self, file_name: str) -> str:
        """Django leaves out files whose names are nothing but a path."""
        return super().sanitize_file_name(file_name) or UNNAMED


class RewrittenForm:
    """A file of the same parts as the strict format has them. Its `read` raises MultiPartParserError."""

    def __init__(self, stream: IO[bytes], old: bytes, new: bytes) -> None:
        self.stream = stream
        self.mark = mark_of(old)
        boundary = rb"\r?\n(?:--)?" + re.escape(self.mark)
        self.boundary = re.compile(boundary + rb"(--|[ \t]*\r?\n)")
        self.broken_end = re.compile(rb"(?:\r?\n|" + boundary + rb"-?)\Z")
        self.longest_boundary = len(self.mark) + MOST_HEAD_BYTES
        self.delimiter = b"\r\n--" + new
        self.buffer = b"\r\n"  # a boundary begins a line
        self.ended = False
        self.pieces = filter(None, self.rewritten())

    def read(self, _count: int | None = None) -> bytes:
        return next(self.pieces, b"")

    def rewritten(self) -> Generator[bytes, None, None]:
        for _ in self.content():  # before the first part
            pass
        while not self.ended and (self.buffer or self.fill()):
            yield self.delimiter + b"\r\n" + self.head()
            yield from self.content()
        yield self.delimiter + b"--\r\n"

    def content(self) -> Generator[bytes, None, None]:
        """What comes before the next boundary. The buffer then begins behind it."""
        while not (found := self.find_boundary()):
            safe = max(0, len(self.buffer) - self.longest_boundary)
            yield self.buffer[:safe]
            self.buffer = self.buffer[safe:]
            if not self.fill():
                self.ended = True
                yield self.broken_end.sub(b"", self.buffer)
                return
        self.ended = found[1] == b"--"
        yield self.buffer[: found.start()]
        self.buffer = self.buffer[found.end() :]

    def find_boundary(self) -> re.Match[bytes] | None:
        # Looking for the mark first is ten times faster.
        return self.boundary.search(self.buffer) if self.mark in self.buffer else None

    def head(self) -> bytes:
        while not (found := BLANK_LINE.search(self.buffer)):
            if len(self.buffer) > MOST_HEAD_BYTES or not self.fill():
                raise MultiPartParserError("A part has no head, or one that is too long.")
        lines = LINE_END.split(FOLD.sub(b" ", self.buffer[: found.start()]))
        self.buffer = self.buffer[found.end() :]
        return b"".join(b"%s\r\n" % line.encode() for line in checked_head(lines)) + b"\r\n"

    def fill(self) -> bool:
        """Whether there was more to read into the buffer."""
        more = self.stream.read(CHUNK)
        self.buffer += more
        return bool(more)


def mark_of(boundary: bytes) -> bytes:
    """What parts of a form begin with. Some devices count its two hyphens as a part of the boundary."""
    return boundary if boundary.startswith(b"--") else b"--" + boundary


def checked_head(lines: Iterable[bytes]) -> list[str]:
    """The headers of a part, which has a name. Raises MultiPartParserError."""
    texts = [decoded(line) for line in lines]
    try:
        headers = [parse_header_parameters(text) for text in texts]
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or is not the parameter's
        raise MultiPartParserError("A part has a malformed head.") from error
    if not has_option(headers, "name"):
        raise MultiPartParserError("A part has no name.")
    if encoded := next((text for text in texts if ENCODED.match(text)), None):
        raise MultiPartParserError(f"A part is sent with {encoded!r}; send it as it is, or in base64.")
    if is_picture(headers) and not has_option(headers, "filename"):
        # Django takes a part without a file name for a text.
        return [text + f'; filename="{UNNAMED}"' if DISPOSITION.match(text) else text for text in texts]
    return texts


def has_option(headers: Headers, name: str) -> bool:
    return any(options.get(name) for kind, options in headers if DISPOSITION.match(kind))


def is_picture(headers: Headers) -> bool:
    return any(PICTURE.match(kind) for kind, _ in headers)


def decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
