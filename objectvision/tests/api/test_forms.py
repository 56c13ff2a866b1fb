"""Multipart forms as devices write them, read through the parser of uploads."""

import contextlib
import io
import os
import random
from time import thread_time

import pytest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParserError

from objectvision.api.forms import CHUNK, FormParser

FILE = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg'
FIELD = b'Content-Disposition: form-data; name="classes"'


def part(head, content, boundary=b"B"):
    return b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


class Drops(io.BytesIO):
    """Gives a few bytes at a time."""

    size = 1

    def read(self, _count=-1):
        return super().read(self.size)


def parse(body, boundary="B", stream=io.BytesIO):
    """The form's fields, and its files by name and content."""
    handler = MemoryFileUploadHandler()
    handler.activated = True
    handler.handle_raw_input = lambda *_: None
    meta = {"CONTENT_TYPE": f"multipart/form-data; boundary={boundary}", "CONTENT_LENGTH": len(body)}
    fields, files = FormParser(meta, stream(body), [handler], "utf-8").parse()
    return dict(fields.lists()), [
        (name, file.name, file.read()) for name, found in files.lists() for file in found
    ]


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
def test_a_form_is_read_however_its_lines_and_its_boundaries_end(body, boundary):
    assert parse(body, boundary) == READ
    assert parse(body, boundary, Drops) == READ


def test_a_boundary_inside_a_line_of_the_content_is_content():
    for content in (b"x--B\r\ny", b"--B", b"x\r\n--Broken", b"--B--"):
        assert parse(part(FILE, b"0" + content) + b"--B--\r\n")[1] == [("image", "a.jpg", b"0" + content)]


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
    body = part(FIELD + b"\r\nContent-" + encoding.encode(), sent) + b"--B--\r\n"
    assert parse(body) == ({"classes": ["bus"]}, [])


def test_a_form_that_breaks_off_in_a_head_is_refused():
    with pytest.raises(MultiPartParserError):
        parse(part(FIELD, b"bus") + b"--B\r\n" + FILE)


@pytest.mark.parametrize("seed", range(5))
def test_contents_of_any_length_come_through_unchanged(seed):
    dice = random.Random(seed)
    lengths = [
        dice.choice([0, 1, CHUNK - 3, CHUNK, CHUNK + 1000, 3 * CHUNK + 7]) + dice.randrange(9)
        for _ in range(4)
    ]
    contents = [os.urandom(length) for length in lengths]
    body = b"".join(part(FILE, content, b"frontier") for content in contents) + b"--frontier--"
    assert [content for _, _, content in parse(body, "frontier")[1]] == contents


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
