"""Hostile, faulty and valid uploads over real HTTP, in both ways of running."""

import contextlib
import socket

import pytest
import requests

from testing.clients import Client
from testing.files.pictures import HOSTILE, good, jpeg, untidy
from testing.waiting import until

BOUNDARY = "multipart/form-data; boundary=frontier"
LARGE = 300_000_000


@pytest.fixture
def client(stack):
    return stack.shared_client


@pytest.fixture(autouse=True)
def nothing_is_stored_and_no_traceback_is_logged(stack, request):
    before = stored(stack)
    logs = [(log, log.stat().st_size) for log in stack.folder.glob("*.log")]
    yield
    if "refused" in request.node.name:
        until(lambda: stored(stack) == before, 5)  # the spooled body is deleted after the answer
    assert not any("Traceback" in log.read_bytes()[size:].decode() for log, size in logs)


def stored(stack):
    """Files, also unfinished ones; the rows are made in one transaction with them."""
    data = stack.folder / "data"
    return sorted(
        path for name in ("media", "uploads") for path in (data / name).rglob("*") if path.is_file()
    )


def assert_refused(response, status, code, attr=None):
    assert response.status_code == status, response.text
    body = response.json()
    assert body["type"] == ("validation_error" if attr else "client_error")
    (error,) = body["errors"]
    assert (error["code"], error["attr"]) == (code, attr)
    assert error["detail"]
    assert response.headers["X-Request-ID"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(client, name):
    content, code = HOSTILE[name]
    assert_refused(client.upload(content, name), 400, code, "image")


@pytest.mark.parametrize("name", good())
def test_every_picture_format_and_mode_is_processed(client, name):
    content, _ = good()[name]
    response = client.upload(content, name, wait=30)
    assert response.status_code == 200, response.text
    detection = response.json()
    (image,) = detection["images"]
    assert (image["state"], image["original_name"]) == ("done", name)
    assert len(image["results"]) == 2
    assert client.get(f"detect/{detection['id']}/image").content.startswith(b"\xff\xd8")


@pytest.mark.parametrize("name", untidy())
def test_a_picture_that_only_a_second_decoder_reads_is_processed_and_shown(client, name):
    detection = client.upload(untidy()[name], name, wait=30).json()
    (image,) = detection["images"]
    assert (image["state"], image["width"], image["height"], len(image["results"])) == ("done", 48, 32, 2)
    path = f"detect/{detection['id']}"
    assert client.get(f"{path}/image").content.startswith(b"\xff\xd8")
    assert client.get(f"{path}/images/{image['id']}").status_code == 200


def test_an_upload_without_a_file_is_refused(client):
    response = client.post("detect/image", files={"name": (None, "Photo")})
    assert_refused(response, 400, "required", "image")


def test_a_file_of_another_name_is_refused(client):
    files = {"image": ("photo.jpg", jpeg()), "other": ("photo.jpg", jpeg())}
    assert_refused(client.post("detect/image", files=files), 400, "unknown_field", "other")


def test_a_text_in_place_of_the_file_is_refused(client):
    response = client.post("detect/image", files={"image": (None, "photo")})
    assert_refused(response, 400, "invalid", "image")


def test_a_form_that_is_not_multipart_is_refused(client):
    assert_refused(client.post("detect/image", data={"image": "photo"}), 415, "unsupported_media_type")


def test_json_is_refused(client):
    assert_refused(client.post("detect/image", json={"image": "photo"}), 415, "unsupported_media_type")


def test_multipart_without_a_boundary_is_refused(client):
    response = client.post("detect/image", data=b"--", headers={"Content-Type": "multipart/form-data"})
    assert_refused(response, 400, "parse_error")


def test_multipart_with_another_boundary_is_refused(client):
    response = client.post("detect/image", data=b"--x--", headers={"Content-Type": BOUNDARY})
    assert_refused(response, 400, "required", "image")


def test_a_multipart_body_that_breaks_off_is_refused(client):
    head = b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    response = client.post("detect/image", data=head + jpeg()[:20], headers={"Content-Type": BOUNDARY})
    assert response.status_code == 400, response.text


FORM = (
    b'--frontier\r\nContent-Disposition: form-data; name="name"\r\n\r\nGate\r\n'
    b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="caf\xe9.jpg"\r\n\r\n%s\r\n'
    b"--frontier--\r\n"
)


@pytest.mark.parametrize(
    "form",
    [FORM, FORM.replace(b"\r\n", b"\n"), FORM.removesuffix(b"\r\n--frontier--\r\n")],
    ids=["latin-1", "line feeds", "no last boundary"],
)
def test_a_form_as_cameras_write_it_is_read(client, form):
    headers = {"Content-Type": BOUNDARY, "Prefer": "wait=30"}
    response = client.post("detect/image", data=form % jpeg(), headers=headers)
    assert response.status_code == 200, response.text
    (image,) = response.json()["images"]
    assert (response.json()["name"], image["original_name"]) == ("Gate", "café.jpg")
    assert len(image["results"]) == 2


@pytest.mark.parametrize("confidence", ["-0.1", "1.1", "high", "nan", "inf"])
def test_a_confidence_out_of_range_is_refused(client, confidence):
    response = client.upload(jpeg(), confidence=confidence)
    assert response.status_code == 400, response.text
    (error,) = response.json()["errors"]
    assert error["attr"] == "confidence"


def test_a_form_of_200_files_is_refused(client):
    files = [("image", (f"{number}.jpg", jpeg(8, 8))) for number in range(200)]
    response = client.post("detect/image", files=files)
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "too_many_files"


def test_a_path_in_the_file_name_does_not_reach_the_storage(stack, client):
    name = "../../../etc/passwd\r\n.jpg"
    before = stored(stack)
    response = client.upload(jpeg(), name, wait=30)
    (image,) = response.json()["images"]
    (path,) = set(stored(stack)) - set(before)
    assert path.name == f"{image['id']}.jpg"


def test_an_anonymous_upload_is_refused(stack):
    response = Client(stack.url).upload(jpeg())
    assert_refused(response, 401, "not_authenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def raw(stack, head, pieces):
    """Send a request that no client library would send; returns the text of the answer."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):  # it was refused while we were still sending
            for piece in pieces:
                connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()


def request_head(*headers):
    lines = ("POST /api/v1/detect/image HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {BOUNDARY}", *headers)
    return "\r\n".join(lines) + "\r\n\r\n"


def test_a_large_content_length_is_refused_before_the_body_is_sent(stack):
    answer = raw(stack, request_head(f"Content-Length: {LARGE}"), [])
    assert answer.startswith("HTTP/1.1 413")
    assert '"code": "too_large"' in answer


def test_a_large_chunked_body_is_refused_at_the_limit(stack):
    chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    answer = raw(stack, request_head("Transfer-Encoding: chunked"), (chunk for _ in range(300)))
    assert answer.startswith("HTTP/1.1 413")


def test_a_large_json_body_is_refused(stack):
    response = requests.post(f"{stack.url}/api/v1/auth/login", json={"email": "x" * 2_000_000}, timeout=20)
    assert_refused(response, 413, "too_large")
