"""Hostile files, uploaded to a running server, processed by its worker and downloaded again."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from testing import stacks
from testing.files import hostile, pictures
from testing.files.pictures import photo
from testing.waiting import until

ACCEPTED = {hostile.DONE: ["done"], hostile.FAILED: ["failed"], hostile.ENDED: ["done", "failed"]}
# More than the process takes for an ordinary photo. 50 million pixels in RGB are 150 MB, and are copied.
MOST_MEGABYTES = 700
TYPES = {f"image/{name}" for name in ("jpeg", "png", "webp", "gif", "bmp", "tiff")}


def highest_megabytes(process):
    """The peak memory of the process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory, standin_folder):
    with stacks.running("embedded", tmp_path_factory.mktemp("hostile"), standin_folder) as stack:
        client = stack.client().sign_up()
        assert client.upload(photo(), wait=30).status_code == 200
        yield SimpleNamespace(stack=stack, client=client, usual=highest_megabytes(stack.processes["serve"]))


@pytest.fixture(scope="module")
def outcomes(server):
    """For each file, the answer to its upload; if accepted, also its image and the pictures served."""

    def send(file):
        return file, server.client.another().upload(file.make(), file.name)

    before = rows_and_files(server)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(send, hostile.FILES))
        ended = dict(
            threads.map(lambda sent: (sent[0].name, followed(server.client.another(), sent[1])), answers)
        )
    server.added = [after - earlier for after, earlier in zip(rows_and_files(server), before, strict=True)]
    return ended


def rows_and_files(server):
    """How many detections the user has, and how many files lie in the storage."""
    media = server.stack.folder / "data" / "media"
    total = server.client.get("detect/history").json()["total"]
    return total, sum(path.is_file() for path in media.rglob("*"))


def followed(client, answer):
    if answer.status_code != 202:
        return SimpleNamespace(answer=answer, image=None)
    detection = answer.json()["detection_id"]
    client.finished(detection, 120)
    (image,) = client.get(f"detect/{detection}").json()["images"]
    original = client.get(f"detect/{detection}/images/{image['id']}")
    return SimpleNamespace(
        answer=answer, image=image, original=original, annotated=client.get(f"detect/{detection}/image")
    )


def code_of(response):
    (error,) = response.json()["errors"]
    return error["code"]


def test_there_are_over_250_hostile_files_with_unique_names():
    names = [file.name for file in (*hostile.FILES, *hostile.ARCHIVES)]
    assert len(names) == len(set(names))
    assert len(names) + len(pictures.HOSTILE) > 250


@pytest.mark.parametrize("file", hostile.FILES, ids=str)
def test_a_hostile_file_is_refused_with_its_code_or_ends_cleanly(outcomes, file):
    outcome = outcomes[file.name]
    if file.becomes not in ACCEPTED:
        assert (outcome.answer.status_code, code_of(outcome.answer)) == (400, file.becomes)
        return
    assert outcome.answer.status_code == 202, outcome.answer.text
    assert outcome.image["state"] in ACCEPTED[file.becomes], outcome.image
    if outcome.image["state"] == "failed":
        assert outcome.image["error"]["code"] == "corrupt_image"
        assert outcome.image["error"]["detail"]
        assert outcome.annotated.status_code == 409


@pytest.mark.parametrize("file", [file for file in hostile.FILES if file.becomes in ACCEPTED], ids=str)
def test_pictures_served_of_a_hostile_file_hold_nothing_hidden(outcomes, file):
    outcome = outcomes[file.name]
    given = [outcome.original, outcome.annotated]
    for response in given:
        assert hostile.MARK not in response.content
        assert response.status_code in {200, 409}
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if response.status_code == 200:
            assert response.headers["Content-Disposition"].startswith("inline; filename=")
            assert response.headers["Content-Type"] in TYPES
    if outcome.image["state"] == "failed":
        return
    assert [response.status_code for response in given] == [200, 200]
    with Image.open(io.BytesIO(outcome.annotated.content), formats=["JPEG"]) as picture:
        picture.load()
        assert not set(picture.info) & {"exif", "comment", "xmp", "icc_profile"}
        assert picture.size == (outcome.image["width"], outcome.image["height"])
    with Image.open(io.BytesIO(outcome.original.content)) as picture:
        assert Image.MIME[picture.format.replace("MPO", "JPEG")] == outcome.original.headers["Content-Type"]
        assert set(dict(picture.getexif())) <= {0x0112} or picture.format == "TIFF"
        assert not set(picture.info) & {
            "comment",
            "xmp",
            "XML:com.adobe.xmp",
            "Title",
            "Comment",
            "photoshop",
        }


def test_refused_files_leave_no_rows_and_no_files_and_crash_nothing(server, outcomes):
    taken = [file for file in hostile.FILES if file.becomes in ACCEPTED]
    assert server.added == [len(taken), len(taken)]
    uploads = server.stack.folder / "data" / "uploads"
    until(lambda: not any(path.is_file() for path in uploads.rglob("*")), 5)
    assert server.stack.processes["serve"].poll() is None
    assert "Traceback" not in server.stack.log("serve")


def test_hostile_files_take_no_more_memory_than_a_large_picture(server, outcomes):
    grown = highest_megabytes(server.stack.processes["serve"]) - server.usual
    assert grown < MOST_MEGABYTES


@pytest.mark.parametrize("file", hostile.ARCHIVES, ids=str)
def test_a_hostile_archive_is_refused_with_its_code_or_its_pictures_are_processed(server, file):
    before = server.client.get("detect/history").json()["total"]
    answer = server.client.post(
        "detect/batch", files={"archive": (file.name, file.make())}, headers={"Prefer": "wait=30"}
    )
    if file.becomes not in ACCEPTED:
        assert (answer.status_code, code_of(answer)) == (400, file.becomes), answer.text
        assert server.client.get("detect/history").json()["total"] == before
        return
    assert answer.status_code == 200, answer.text
    assert "done" in [image["state"] for image in answer.json()["images"]]


@pytest.mark.parametrize(("header", "shown"), hostile.NAMES.values(), ids=hostile.NAMES)
def test_a_hostile_file_name_is_sanitised_or_refused(server, header, shown):
    content_type = "multipart/form-data; boundary=frontier"
    head = f'--frontier\r\nContent-Disposition: form-data; name="image"; {header}\r\n\r\n'.encode()
    answer = server.client.post(
        "detect/image",
        data=head + photo() + b"\r\n--frontier--\r\n",
        headers={"Content-Type": content_type, "Prefer": "wait=30"},
    )
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 400:
        return
    (image,) = answer.json()["images"]
    name = image["original_name"]
    assert shown in {None, name}
    assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069/\\]", name)
    assert len(name) <= 255
    original = server.client.get(f"detect/{answer.json()['id']}/images/{image['id']}")
    assert original.status_code == 200
    assert "Set-Cookie" not in original.headers
    assert original.headers["Content-Type"] == "image/jpeg"
    assert original.headers["Content-Disposition"].startswith("inline; filename")
