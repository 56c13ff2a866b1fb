"""Reads multipart forms as cameras and other small devices write them.

Accepts line ends without a carriage return, file names in Latin-1, pictures without a file name, and a form
that ends without its last boundary. Django's limits hold.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser as DjangoParser
from django.http.multipartparser import MultiPartParserError
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters
from rest_framework import parsers
from rest_framework.exceptions import ParseError
from typing_extensions import override

from objectvision.api.forms.contents import BLOCK, CHUNK, MOST_WHOLE, Content, Slice, length_of
from objectvision.api.parsers import encoding_of

MOST_HEAD_BYTES = 1 << 10  # of one part, as in Django
DISPOSITION = re.compile("content-disposition:", re.IGNORECASE)
PICTURE = re.compile("content-type: *image/")
# Of a part's content; only base64 is decoded, and the others of these change nothing.
ENCODED = re.compile(
    "content-(?:transfer-)?encoding:(?! *(?:7bit|8bit|binary|identity|base64)? *$)", re.IGNORECASE
)
BASE64 = re.compile("content-transfer-encoding: *base64$")
UNNAMED = "unnamed"
LINE_END, BLANK_LINE, FOLD = re.compile(rb"\r?\n"), re.compile(rb"\r?\n\r?\n"), re.compile(rb"\r?\n[ \t]+")
LINE_REST, MOST_BEFORE = rb"(--|[ \t]*\r?\n)", 4  # of a boundary: behind its mark, and bytes before that
SIGNS_OF_A_FIELD = 2  # Django counts those that a field has in other forms


class MultiPartParser(parsers.MultiPartParser):
    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        request = parser_context["request"]
        kind, separator, options = str(media_type).partition(";")  # Django takes lower case alone
        meta = {**request.META, "CONTENT_TYPE": kind.lower() + separator + options}
        try:
            form = FormParser(meta, stream, encoding_of(parser_context))
            return parsers.DataAndFiles(*form.parse())
        except MultiPartParserError as error:
            raise ParseError(f"Multipart form parse error - {error}") from error


class Boundary(NamedTuple):
    """Begin and end of what separates two parts."""

    begin: int
    end: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Head:
    """What a part is called. A field has no file name."""

    name: str
    file_name: str
    is_base64: bool


class FormParser(DjangoParser):
    """Finds the parts of a form in its content. Raises MultiPartParserError."""

    def __init__(self, meta: Any, stream: Any, encoding: str) -> None:
        super().__init__(meta, stream, [], encoding)  # refuses bad types and boundaries; reads nothing
        _, options = parse_header_parameters(meta["CONTENT_TYPE"])
        self.mark = mark_of(options["boundary"].encode("ascii"))
        line = rb"(?:--)?" + re.escape(self.mark)  # some devices write more hyphens, and blanks behind it
        self.boundary = re.compile(rb"\r?\n" + line + LINE_REST)
        self.first_boundary = re.compile(rb"(?:\A|\r?\n)" + line + LINE_REST)
        self.broken_end = re.compile(rb"\r?\n(?:" + line + rb"-?)?\Z")
        self.longest_boundary = len(self.mark) + MOST_HEAD_BYTES
        self.encoding = encoding
        self.content = Content(stream)
        self.fields, self.files = QueryDict(mutable=True), MultiValueDict[str, Any]()
        self.field_count = self.file_count = self.bytes_of_fields = 0

    @override
    def parse(self) -> tuple[QueryDict, "MultiValueDict[str, UploadedFile[bytes]]"]:
        with ExitStack() as failed:
            for head, begin, end in self.parts():
                if head.file_name:
                    failed.enter_context(self.add_file(head, begin, end))
                else:
                    self.add_field(head, begin, end)
            failed.pop_all()
        return self.fields, self.files

    def parts(self) -> Iterator[tuple[Head, int, int]]:
        """The head of each part, and where its content begins and ends."""
        boundary = self.find_boundary(0)
        while boundary and not boundary.is_last and boundary.end < self.content.length:
            head, begin = self.read_head(boundary.end)
            boundary = self.find_boundary(begin)
            yield head, begin, boundary.begin if boundary else self.find_broken_end(begin)

    def find_boundary(self, least: int) -> Boundary | None:
        """The first that begins at `least` or behind it."""
        at = least
        while (at := self.content.find(self.mark, at)) >= 0:
            begin = max(least, at - MOST_BEFORE)
            first = self.content.load(begin, at + self.longest_boundary, at + CHUNK)
            # For all marks in the block at once: one by one takes long if many of them are content.
            if found := (self.boundary if begin else self.first_boundary).search(self.content.block, first):
                begin += found.start() - first
                return Boundary(begin, begin + len(found[0]), found[1] == b"--")
            at = max(at + 1, self.content.block_end - self.longest_boundary)
        return None

    def find_broken_end(self, begin: int) -> int:
        """Where the last part ends if no boundary follows, or half of one."""
        tail_begin = max(begin, self.content.length - len(self.mark) - MOST_BEFORE - 1)
        tail = self.content.read(tail_begin, self.content.length)
        found = self.broken_end.search(tail)
        return tail_begin + found.start() if found else self.content.length

    def read_head(self, begin: int) -> tuple[Head, int]:
        """The head, and where the content behind it begins."""
        text = self.content.read(begin, begin + MOST_HEAD_BYTES)
        if not (found := BLANK_LINE.search(text)):
            raise MultiPartParserError("A part has no head, or one that is too long.")
        return head_of(LINE_END.split(FOLD.sub(b" ", text[: found.start()]))), begin + found.end()

    def add_field(self, head: Head, begin: int, end: int) -> None:
        self.field_count += 1
        if self.field_count > settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:
            raise TooManyFieldsSent
        self.bytes_of_fields += end - begin + len(head.name) + SIGNS_OF_A_FIELD
        if self.bytes_of_fields > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        data = self.content.read(begin, end)
        if head.is_base64:
            with suppress(binascii.Error):  # as it is, then
                data = base64.b64decode(data)
        self.fields.appendlist(head.name, data.decode(self.encoding, "replace"))

    def add_file(self, head: Head, begin: int, end: int) -> "UploadedFile[bytes]":
        self.file_count += 1
        if self.file_count > settings.DATA_UPLOAD_MAX_NUMBER_FILES:
            raise TooManyFilesSent
        content: Any = Slice(self.content, begin, end)
        if head.is_base64:
            content = decoded_file(content)
        name = self.sanitize_file_name(head.file_name) or UNNAMED
        file = UploadedFile(content, name, size=length_of(content))
        file.DEFAULT_CHUNK_SIZE = MOST_WHOLE
        self.files.appendlist(head.name, file)
        return file


def mark_of(boundary: bytes) -> bytes:
    """What parts of a form begin with. Some devices count its two hyphens as a part of the boundary."""
    return boundary if boundary.startswith(b"--") else b"--" + boundary


def head_of(lines: Iterable[bytes]) -> Head:
    """Raises MultiPartParserError."""
    texts = [decoded(line) for line in lines]
    try:
        headers = [parse_header_parameters(text) for text in texts]
        disposition = next((options for kind, options in reversed(headers) if DISPOSITION.match(kind)), {})
        name, file_name = disposition.get("name", "").strip(), disposition.get("filename", "")
        (name + file_name).encode()
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or is not the parameter's
        raise MultiPartParserError("A part has a malformed head.") from error
    if not name:
        raise MultiPartParserError("A part has no name.")
    if encoded := next((text for text in texts if ENCODED.match(text)), None):
        raise MultiPartParserError(f"A part is sent with {encoded!r}; send it as it is, or in base64.")
    kinds = [kind for kind, _ in headers]
    if not file_name and any(map(PICTURE.match, kinds)):
        file_name = UNNAMED
    return Head(name, file_name, any(map(BASE64.match, kinds)))


def decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def decoded_file(encoded: Slice) -> IO[bytes]:
    """A file of what is in base64. Raises MultiPartParserError."""
    with ExitStack() as failed:
        file = failed.enter_context(
            SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=str(settings.FILE_UPLOAD_TEMP_DIR))
        )
        rest = b""
        while chunk := encoded.read(BLOCK):
            rest += b"".join(chunk.split())
            whole = len(rest) // 4 * 4  # characters, of which four are three bytes
            try:
                file.write(base64.b64decode(rest[:whole]))
            except binascii.Error as error:
                raise MultiPartParserError("A part is no base64.") from error
            rest = rest[whole:]
        if rest:
            raise MultiPartParserError("A part in base64 breaks off.")
        file.seek(0)
        failed.pop_all()
    return file
