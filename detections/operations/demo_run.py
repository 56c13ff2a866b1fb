"""Does the main job as a new user would, on a server of its own: sign up, log in, upload, wait, download."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from django.conf import settings

from detections.operations import demo

START_SECONDS = 60
DETECT_SECONDS = 30
PORTS = range(10_000, 20_000)  # Linux takes those of outgoing connections from 32,768 on
SERVICES = ("DATABASE_URL", "DB_HOST", "REDIS_URL", "REDIS_HOST")


class DemoError(Exception):
    """Why the demo could not go on, as a sentence for the operator."""


@contextmanager
def running_server(data_dir: Path) -> Iterator[str]:
    """Set up and start a server in this data folder, on a free port; its URL. Raises DemoError."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    environment = embedded_environment(data_dir)
    if subprocess.run([*manage, "setup"], env=environment, check=False).returncode:  # noqa: S603  # our own
        raise DemoError("The set-up failed.")
    port = free_port()
    log_file = data_dir / "serve.log"
    with log_file.open("wb") as log:
        serve = [*manage, "serve", "--port", str(port)]
        process = subprocess.Popen(serve, env=environment, stdout=log, stderr=log)  # noqa: S603  # our own
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process, log_file)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def embedded_environment(data_dir: Path) -> dict[str, str]:
    """This process's environment without the services that the server would otherwise use."""
    services = dict.fromkeys(SERVICES, "")
    return {**os.environ, **services, "ENVIRONMENT": "development", "DATA_DIR": str(data_dir)}


def free_port() -> int:
    """A port that nothing listens on. Raises DemoError."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise DemoError("No free port was found.")


def wait_until_up(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise DemoError(f"The server did not start; its log is {log_file}.")


class DemoClient:
    """A new user of the API. Its methods raise DemoError if an answer is an error."""

    def __init__(self, url: str) -> None:
        self.api = f"{url}/api/v1"
        self.headers: dict[str, str] = {}

    def sign_up(self) -> None:
        """Make a new account and log in."""
        account = {"email": f"demo-{time.time_ns()}@example.com", "password": demo.PASSWORD}
        self.request("POST", f"{self.api}/auth/signup", json=account)
        tokens = self.request("POST", f"{self.api}/auth/login", json=account).json()
        self.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    def default_classes(self) -> list[str]:
        detectors = self.request("GET", f"{self.api}/detectors").json()["items"]
        return [name for detector in detectors if detector["is_default"] for name in detector["classes"]]

    def detect(self, photo: Path) -> tuple[dict[str, Any], bytes]:
        """Upload and wait: the finished detection and its annotated picture."""
        with photo.open("rb") as file:
            job = self.request("POST", f"{self.api}/detect/image", files={"image": file}).json()
        self.wait_until_finished(job["job_url"])
        detection = f"{self.api}/detect/{job['detection_id']}"
        picture = self.request("GET", f"{detection}/image").content
        return self.request("GET", detection).json(), picture

    def wait_until_finished(self, job_url: str) -> None:
        deadline = time.monotonic() + DETECT_SECONDS
        while time.monotonic() < deadline:
            job = self.request("GET", job_url).json()
            if job["status"] == "completed":
                return
            if job["finished_at"]:
                raise DemoError(f"The detection is {job['status']}: {job['error']}")
            time.sleep(0.1)
        raise DemoError(f"The detection is not finished after {DETECT_SECONDS} seconds.")

    def request(self, method: str, url: str, **content: Any) -> requests.Response:
        response = requests.request(method, url, headers=self.headers, timeout=30, **content)
        if not response.ok:
            raise DemoError(f"{method} {url}: {response.status_code} {response.text}")
        return response
