"""Multipart forms as devices write them, read through the parser of uploads."""

import base64
import contextlib
import io
import os
import random
from tempfile import SpooledTemporaryFile
from time import thread_time

import pytest
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http.multipartparser import MultiPartParserError

from objectvision.api.forms import contents
from objectvision.api.forms.contents import CHUNK, MOST_WHOLE, Content, Slice
from objectvision.api.forms.parser import FormParser

FILE = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg'
FIELD = b'Content-Disposition: form-data; name="classes"'


def part(head, content, boundary=b"B"):
    return b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def spooled(body):
    """As the request handler has a body on the disk."""
    file = SpooledTemporaryFile(1)  # noqa: SIM115  # the caller's to close
    file.write(body)
    file.seek(0)
    return file


@pytest.fixture(params=[io.BytesIO, spooled])
def stream(request, settings, monkeypatch):
    """Makes a file of a body: in memory, or on the disk, from where it is read a byte at a time."""
    if request.param is spooled:
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1
        monkeypatch.setattr(contents, "CHUNK", 1)
    return request.param


def parse(body, boundary="B", stream=io.BytesIO):
    """The form's fields, and its files by name and content."""
    meta = {"CONTENT_TYPE": f"multipart/form-data; boundary={boundary}"}
    with stream(body) as file:
        fields, files = FormParser(meta, file, "utf-8").parse()
    return dict(fields.lists()), [
        (name, file.name, read(file)) for name, found in files.lists() for file in found
    ]


def read(file):
    with file:
        content = file.read()
        assert file.size == len(content)
        return content


FORM = part(FIELD, b"bus") + part(FILE, b"\xff\xd8picture\xff\xd9") + b"--B--\r\n"
READ = ({"classes": ["bus"]}, [("image", "a.jpg", b"\xff\xd8picture\xff\xd9")])


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (FORM, "B"),
        (FORM.removesuffix(b"\r\n"), "B"),
        (FORM.replace(b"\r\n", b"\n"), "B"),
        (FORM.removesuffix(b"--B--\r\n"), "B"),
        (FORM.removesuffix(b"\r\n--B--\r\n"), "B"),
        (FORM.removesuffix(b"--\r\n"), "B"),
        (FORM.removesuffix(b"-\r\n"), "B"),
        (FORM.removesuffix(b"--\r\n") + b"\r\n", "B"),
        (FORM.replace(b"\r\n", b"\n").removesuffix(b"--B--\n"), "B"),
        (b"something before\r\n" + FORM + b"something behind", "B"),
        (FORM.replace(b"--B\r\n", b"--B  \r\n"), "B"),
        (FORM, "--B"),
        (FORM.replace(b"--B", b"----B"), "--B"),
    ],
)
def test_a_form_is_read_however_its_lines_and_its_boundaries_end(body, boundary, stream):
    assert parse(body, boundary, stream) == READ


def test_a_boundary_inside_a_line_of_the_content_is_content(stream):
    for content in (b"x--B\r\ny", b"--B", b"x\r\n--Broken", b"--B--"):
        body = part(FILE, b"0" + content) + b"--B--\r\n"
        assert parse(body, "B", stream)[1] == [("image", "a.jpg", b"0" + content)]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("café.jpg".encode("latin-1"), "café.jpg"),
        ("café.jpg".encode(), "café.jpg"),
        (b"C:\\DCIM\\a.jpg", "a.jpg"),
        (b"/", "unnamed"),
        (b"..", "unnamed"),
        (b"\t", "unnamed"),
    ],
)
def test_a_file_name_is_read_in_latin_1_too_and_no_file_is_lost_for_its_name(name, read):
    form = part(FILE.replace(b"a.jpg", name), b"x") + b"--B--\r\n"
    assert parse(form)[1] == [("image", read, b"x")]


@pytest.mark.parametrize("name", ["", '; filename=""'])
def test_a_picture_without_a_file_name_is_a_file(name):
    head = f'content-disposition: form-data; name="image"{name}\r\nContent-Type:image/jpeg'
    assert parse(part(head.encode(), b"x") + b"--B--\r\n") == ({}, [("image", "unnamed", b"x")])


def test_a_file_input_that_was_left_empty_is_no_file():
    head = b'Content-Disposition: form-data; name="archive"; filename=""\r\nContent-Type: application/zip'
    assert parse(part(head, b"") + b"--B--\r\n") == ({"archive": [""]}, [])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Content-Type: image/jpeg",
        b'Content-Disposition: form-data; filename="a.jpg"',
        b'Content-Disposition: form-data; name=""; filename="a.jpg"',
        b"Content-Disposition: form-data; name*=nonsense''x",
        FILE + b"; charset*=nonsense''x",
        FILE + b"\r\nX: " + b"y" * 2000,
    ],
)
def test_a_part_that_has_no_readable_name_is_refused_and_not_left_out(head):
    with pytest.raises(MultiPartParserError):
        parse(part(head, b"x") + b"--B--\r\n")


def test_the_head_of_a_part_may_be_folded():
    assert parse(FORM.replace(b"form-data; name", b"form-data;\r\n\tname")) == READ


@pytest.mark.parametrize(
    "encoding",
    ["Content-Transfer-Encoding: quoted-printable", "content-encoding:gzip", "Content-Encoding: br"],
)
def test_a_part_in_an_encoding_that_is_not_read_is_refused_by_name(encoding):
    with pytest.raises(MultiPartParserError, match=encoding):
        parse(part(FIELD + b"\r\n" + encoding.encode(), b"bus") + b"--B--\r\n")


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [("Transfer-Encoding: base64", b"YnVz"), ("Transfer-Encoding: BINARY", b"bus"), ("Encoding:", b"bus")],
)
def test_a_part_in_base64_or_as_it_is_is_read(encoding, sent):
    lines = b"\r\nContent-" + encoding.encode()
    body = part(FIELD + lines, sent) + part(FILE + lines, sent) + b"--B--\r\n"
    assert parse(body) == ({"classes": ["bus"]}, [("image", "a.jpg", b"bus")])


@pytest.mark.parametrize("length", [0, 1, 2, 3, 300_000])
def test_a_file_in_base64_may_have_any_length_and_line_ends_anywhere(length):
    content = os.urandom(length)
    sent = base64.encodebytes(content).replace(b"\n", b"\r\n")
    head = FILE + b"\r\nContent-Transfer-Encoding: base64"
    assert parse(part(head, sent) + b"--B--\r\n")[1] == [("image", "a.jpg", content)]


@pytest.mark.parametrize("sent", [b"YnV", b"YnVzY", b"Y===YnVz"])
def test_a_file_in_broken_base64_is_refused(sent):
    with pytest.raises(MultiPartParserError):
        parse(part(FILE + b"\r\nContent-Transfer-Encoding: base64", sent) + b"--B--\r\n")


def test_a_form_that_breaks_off_in_a_head_is_refused():
    with pytest.raises(MultiPartParserError):
        parse(part(FIELD, b"bus") + b"--B\r\n" + FILE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most_in_memory", [1, 1 << 30])
def test_contents_of_any_length_come_through_unchanged(seed, most_in_memory, settings):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = most_in_memory
    dice = random.Random(seed)
    lengths = [
        dice.choice([0, 1, CHUNK - 3, CHUNK, CHUNK + 1000, MOST_WHOLE]) + dice.randrange(9) for _ in range(4)
    ]
    contents = [os.urandom(length) for length in lengths]
    body = b"".join(part(FILE, content, b"frontier") for content in contents) + b"--frontier--"
    assert [content for _, _, content in parse(body, "frontier", spooled)[1]] == contents


@pytest.mark.parametrize("size", [5, MOST_WHOLE + 99_999])
@pytest.mark.parametrize("most_in_memory", [1, 1 << 30])
def test_a_file_of_a_form_is_read_as_any_file(size, most_in_memory, settings):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = most_in_memory
    data = os.urandom(size)
    with spooled(b"before" + data + b"behind") as stream:
        file, plain = Slice(Content(stream), 6, 6 + size), io.BytesIO(data)
    dice = random.Random(size)
    for _ in range(100):
        at, whence = dice.choice([(dice.randint(0, size + 9), 0), (-dice.randint(0, size), 2), (0, 1)])
        assert file.seek(at, whence) == plain.seek(at, whence)
        count = dice.choice([None, -1, 0, 1, 70_000, size])
        assert file.read(count) == plain.read(count)
        assert file.tell() == plain.tell()
    with pytest.raises(ValueError, match="begin"):
        file.seek(-1)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_the_disk_of_a_body_is_freed_once_stream_and_files_are_closed(settings):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1
    with spooled(part(FILE, b"a") + part(FILE, b"b") + b"--B--") as stream:
        parser = FormParser({"CONTENT_TYPE": "multipart/form-data; boundary=B"}, stream, "utf-8")
        first, second = parser.parse()[1].getlist("image")
        descriptor = parser.content.descriptor
        del parser
    first.close()
    assert second.read() == b"b"
    second.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_form_of_too_many_parts_or_too_long_fields_is_refused(settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 40
    fields, files = part(FIELD, b"bus") * 2, part(FILE, b"x") * 2
    assert parse(fields + files + b"--B--") == (
        {"classes": ["bus", "bus"]},
        [("image", "a.jpg", b"x"), ("image", "a.jpg", b"x")],
    )
    for more, refusal in [
        (part(FIELD, b""), TooManyFieldsSent),
        (part(FILE, b""), TooManyFilesSent),
        (part(FIELD, b"x" * 32), RequestDataTooBig),
    ]:
        with pytest.raises(refusal):
            parse((b"" if refusal is RequestDataTooBig else fields + files) + more + b"--B--")


@pytest.mark.parametrize("unit", [b"\r\n--Bx", b"\r\n--B \tx", b"\n", b"--B"])
def test_a_content_full_of_almost_boundaries_is_read_in_linear_time(unit):
    content = unit * (2_000_000 // len(unit)) + b"x"
    begun = thread_time()
    assert parse(part(FILE, content) + b"--B--\r\n")[1] == [("image", "a.jpg", content)]
    assert thread_time() - begun < 2


BITS = [b"\r", b"\n", b"--B", b"--B--", b"\r\n\r\n", b'"', b"; filename*=x''y", b"; name=", b"\0"]


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_form_is_read_or_refused(seed):
    dice = random.Random(seed)
    for _ in range(300):
        form = bytearray(dice.choice([FORM, FORM.replace(b"\r\n", b"\n")]))
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(len(form))
            form[at : at + dice.randrange(20)] = dice.choice([*BITS, b"", form[at : at + 40]])
        with contextlib.suppress(MultiPartParserError):
            parse(bytes(form))
