"""What strangers and careless clients send, over real HTTP, to both ways of running."""

import contextlib
import socket

import pytest
import requests

from detections.tests.images import HOSTILE, good, jpeg
from objectvision.tests import stack as stacks
from objectvision.tests.stack import until

BOUNDARY = "multipart/form-data; boundary=frontier"
LARGE = 300_000_000


@pytest.fixture(scope="module", params=stacks.WAYS)
def stack(request, tmp_path_factory, standin_folder):
    with stacks.running(request.param, tmp_path_factory.mktemp(request.param), standin_folder) as stack:
        yield stack


@pytest.fixture(scope="module")
def client(stack):
    return stack.client().sign_up()


@pytest.fixture(autouse=True)
def nothing_is_stored_and_no_traceback_is_logged(stack, request):
    before = stored(stack)
    yield
    if "refused" in request.node.name:
        until(lambda: stored(stack) == before, 5)  # what a request spooled goes when its answer is out
    assert not any("Traceback" in log.read_text() for log in stack.folder.glob("*.log"))


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
def test_every_format_and_mode_is_taken_and_read(client, name):
    content, _ = good()[name]
    response = client.upload(content, name, wait=30)
    assert response.status_code == 200, response.text
    detection = response.json()
    (image,) = detection["images"]
    assert (image["state"], image["original_name"]) == ("done", name)
    assert len(image["results"]) == 2
    assert client.get(f"detect/{detection['id']}/image").content.startswith(b"\xff\xd8")


def test_an_upload_without_a_file_is_refused(client):
    response = client.post("detect/image", files={"other": ("photo.jpg", jpeg())})
    assert_refused(response, 400, "required", "image")


def test_a_text_where_the_file_belongs_is_refused(client):
    response = client.post("detect/image", data={"image": "photo"}, files={"other": ("a", b"b")})
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


@pytest.mark.parametrize("confidence", ["-0.1", "1.1", "high", "nan", "inf"])
def test_a_confidence_out_of_range_is_refused(client, confidence):
    response = client.upload(jpeg(), confidence=confidence)
    assert response.status_code == 400, response.text
    (error,) = response.json()["errors"]
    assert error["attr"] == "confidence"


def test_two_hundred_files_are_refused(client):
    files = [("image", (f"{number}.jpg", jpeg(8, 8))) for number in range(200)]
    response = client.post("detect/image", files=files)
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "too_many_files"


def test_a_path_in_the_name_is_not_one_in_the_storage(stack, client):
    name = "../../../etc/passwd\r\n.jpg"
    before = stored(stack)
    response = client.upload(jpeg(), name, wait=30)
    (image,) = response.json()["images"]
    (path,) = set(stored(stack)) - set(before)
    assert path.name == f"{image['id']}.jpg"


def test_a_stranger_is_refused(stack):
    response = stacks.Client(stack.url).upload(jpeg())
    assert_refused(response, 401, "not_authenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def raw(stack, head, pieces):
    """Send a request by hand, as no client library would; the answer's text."""
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


def test_a_large_body_from_a_stranger_is_refused_before_it_is_sent(stack):
    answer = raw(stack, request_head(f"Content-Length: {LARGE}"), [])
    assert answer.startswith("HTTP/1.1 413")
    assert '"code": "too_large"' in answer


def test_a_large_body_of_unknown_length_is_refused_when_it_passes_the_limit(stack):
    chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    answer = raw(stack, request_head("Transfer-Encoding: chunked"), (chunk for _ in range(300)))
    assert answer.startswith("HTTP/1.1 413")


def test_a_large_json_body_is_refused(stack):
    response = requests.post(f"{stack.url}/api/v1/auth/login", json={"email": "x" * 2_000_000}, timeout=20)
    assert_refused(response, 413, "too_large")
