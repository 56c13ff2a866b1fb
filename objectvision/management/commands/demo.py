import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from objectvision import demonstration

START_SECONDS = 60
DETECT_SECONDS = 30


class Command(BaseCommand):
    help = "Does the main job without a person: starts a server of its own and sends it pictures over HTTP."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--photo", type=Path, help="another photo than the samples")
        parser.add_argument("--output", type=Path, help="the folder where annotated pictures go")

    def handle(self, *, photo: Path | None, output: Path | None, **_: Any) -> None:
        data_dir = settings.DATA_DIR / "demo"
        data_dir.mkdir(parents=True, exist_ok=True)
        output = output or data_dir
        with server(data_dir) as url:
            api = f"{url}/api/v1"
            bearer = log_in(api)
            for picture in [photo] if photo else demonstration.samples(default_classes(api, bearer)):
                detection, annotated = detect(api, bearer, picture)
                self.report(detection)
                file = output / f"annotated-{picture.stem}.jpg"
                file.write_bytes(annotated)
                self.stdout.write(f"Annotated picture: {file}\n\n")

    def report(self, detection: dict[str, Any]) -> None:
        (image,) = detection["images"]
        self.stdout.write(f"{image['original_name']}, {image['width']} x {image['height']} pixels")
        row = "{:<20} {:>10} {:>8} {:>8} {:>8} {:>8}"
        self.stdout.write(row.format("class", "confidence", "x1", "y1", "x2", "y2"))
        for result in image["results"]:
            corners = [f"{result['bbox'][corner]:.0f}" for corner in ("x1", "y1", "x2", "y2")]
            self.stdout.write(row.format(result["object_class"], f"{result['confidence']:.2f}", *corners))
        if not image["results"]:
            self.stdout.write("Nothing found.")


def embedded_environment(data_dir: Path) -> dict[str, str]:
    """This process's environment without what would make the server use other services than its own."""
    services = ("DATABASE_URL", "DB_HOST", "REDIS_URL", "REDIS_HOST")
    return {
        **os.environ,
        **dict.fromkeys(services, ""),
        "ENVIRONMENT": "development",
        "DATA_DIR": str(data_dir),
    }


@contextmanager
def server(data_dir: Path) -> Iterator[str]:
    """A server of its own on a free port, from start to a clean stop; its URL."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    environment = embedded_environment(data_dir)
    if subprocess.run([*manage, "setup"], env=environment, check=False).returncode:
        raise CommandError("The set-up failed.")
    port = free_port()
    log_file = data_dir / "serve.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*manage, "serve", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process, log_file)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise CommandError(f"The server did not start; its log is {log_file}.")


def log_in(api: str) -> dict[str, str]:
    """Sign up first, as a new user would; the headers that say who asks."""
    account = {"email": f"demo-{time.time_ns()}@example.com", "password": demonstration.PASSWORD}
    checked(requests.post(f"{api}/auth/signup", json=account, timeout=10))
    tokens = checked(requests.post(f"{api}/auth/login", json=account, timeout=10)).json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def default_classes(api: str, bearer: dict[str, str]) -> list[str]:
    detectors = checked(requests.get(f"{api}/detectors", headers=bearer, timeout=10)).json()["items"]
    return [name for detector in detectors if detector["is_default"] for name in detector["classes"]]


def detect(api: str, bearer: dict[str, str], photo: Path) -> tuple[dict[str, Any], bytes]:
    """Upload and wait: the finished detection and its annotated picture."""
    with photo.open("rb") as file:
        job = checked(
            requests.post(f"{api}/detect/image", files={"image": file}, headers=bearer, timeout=30)
        ).json()
    detection = f"{api}/detect/{job['detection_id']}"
    wait_until_finished(job["job_url"], bearer)
    picture = checked(requests.get(f"{detection}/image", headers=bearer, timeout=30)).content
    return checked(requests.get(detection, headers=bearer, timeout=10)).json(), picture


def wait_until_finished(job_url: str, bearer: dict[str, str]) -> None:
    deadline = time.monotonic() + DETECT_SECONDS
    while time.monotonic() < deadline:
        job = checked(requests.get(job_url, headers=bearer, timeout=10)).json()
        if job["status"] == "completed":
            return
        if job["finished_at"]:
            raise CommandError(f"The detection is {job['status']}: {job['error']}")
        time.sleep(0.1)
    raise CommandError(f"The detection is not finished after {DETECT_SECONDS} seconds.")


def checked(response: requests.Response) -> requests.Response:
    if not response.ok:
        raise CommandError(
            f"{response.request.method} {response.url}: {response.status_code} {response.text}"
        )
    return response
