"""Helpers that send requests to the API through Django's test client and read the answers."""

import io
import zipfile

import httpx
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile

IMAGE = "/api/v1/detect/image"
BATCH = "/api/v1/detect/batch"
MULTIPART = "multipart/form-data; boundary=edge"


def file_of(content, name="photo.jpg"):
    return SimpleUploadedFile(name, content)


def send_batch(client, *contents, headers=None, **fields):
    """Upload a file of each content, called `photo-1.jpg` and so on."""
    files = [file_of(content, f"photo-{number}.jpg") for number, content in enumerate(contents, 1)]
    return client.post(
        BATCH, {**({"images": files} if files else {}), **fields}, format="multipart", headers=headers
    )


def send_archive(client, content, **fields):
    return send_batch(client, archive=file_of(content, "photos.zip"), **fields)


def change_job(client, detection, deed):
    """Ask to `cancel` or `retry` a job."""
    return client.post(f"/api/v1/detect/jobs/{detection.pk}/{deed}")


def zipped(entries, compression=zipfile.ZIP_DEFLATED):
    """A ZIP of these names and contents."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def kind_of(status):
    if status == 400:
        return "validation_error"
    return "client_error" if status < 500 else "server_error"


def faults(response, status=400, kind=None):
    """Code and field of every error in an answer of the contract's form."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/json")
    content = response.json()
    assert set(content) == {"type", "errors"}
    assert content["type"] == (kind or kind_of(status))
    assert all(set(error) == {"code", "detail", "attr"} and error["detail"] for error in content["errors"])
    return [(error["code"], error["attr"]) for error in content["errors"]]


@async_to_sync
async def content_of(response):
    """The body of a streamed answer, read as a server reads it."""
    assert response.status_code == 200, response.content
    return b"".join([piece async for piece in response])


@async_to_sync
async def send_through_asgi(method, path, headers=None, content=None):
    """A request through the whole ASGI application, including what runs before Django."""
    from objectvision.asgi import application

    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers=headers, content=content)


def upload_form(fields, boundary="edge"):
    """A form of these pairs of names and values, in their order; bytes are files."""
    parts = []
    for name, value in fields:
        file = '; filename="a.jpg"' if isinstance(value, bytes) else ""
        content = value if isinstance(value, bytes) else value.encode()
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()
