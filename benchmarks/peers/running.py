"""Starts the servers of the peers, each from an environment of its own, and talks to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from testing import services

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figures import Figure

SERVER = Path(__file__).with_name("server.py")
# By the name in the table, the module that loads the model; its environment has the same name.
LIBRARIES = {
    "LitServe": "by_ultralytics",
    "inference-cpu": "by_inference",
    "openvino-model-api": "by_model_api",
}
INSTALL_ERROR = "error"
EXCEPTION = re.compile(r"[\w.]*(Error|Exception)\b")
START_SECONDS = 120
TIMEOUT = 60


class PeerError(Exception):
    """Why a peer does not run."""


class Peer:
    """The server of one peer."""

    def __init__(self, python: Path, library: str, model: Path, log: Path) -> None:
        self.log = log
        port = services.free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(python), str(SERVER), library, str(model), "--port", str(port)]
        environment = {**os.environ, "YOLO_CONFIG_DIR": str(log.parent)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=log.parent, start_new_session=True
            )

    def wait_until_up(self) -> None:
        """Raises PeerError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/health", timeout=5).ok:
                    return
            time.sleep(0.2)
        raise PeerError(reason_in(self.log) or f"does not start within {START_SECONDS} s")

    def detect(self, http: requests.Session, photo: bytes) -> None:
        """Send a photo and wait for its boxes. Raises PeerError."""
        try:
            answer = http.post(f"{self.url}/predict", files={"image": ("photo.jpg", photo)}, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise PeerError(reason_in(self.log) or repr(error)) from error
        if not answer.ok:
            raise PeerError(f"{answer.status_code} {reason_in(self.log) or answer.text}")

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Peers:
    """Servers that are started when they are first used; one that failed is not tried again."""

    def __init__(
        self, environments: Path, model: Path, folder: Path, warm_up: Callable[[Peer], object]
    ) -> None:
        self.environments, self.model, self.folder, self.warm_up = environments, model, folder, warm_up
        self.started: dict[str, Peer] = {}
        self.failed: dict[str, str] = {}

    def figure(self, name: str, use: Callable[[Peer], float]) -> Figure:
        """What `use` makes of the peer, or why the peer does not run."""
        if name not in self.failed:
            try:
                return use(self.running(name))
            except PeerError as error:
                self.failed[name] = str(error)
        return self.failed[name]

    def running(self, name: str) -> Peer:
        """Raises PeerError."""
        if name not in self.started:
            library = LIBRARIES[name]
            python = self.environments / library / "bin" / "python"
            if not python.exists() or (self.environments / library / INSTALL_ERROR).exists():
                raise PeerError(reason_in(self.environments / library / INSTALL_ERROR) or "is not installed")
            self.started[name] = Peer(python, library, self.model, self.folder / f"{library}.log")
            self.started[name].wait_until_up()
            self.warm_up(self.started[name])
        return self.started[name]

    def close(self) -> None:
        for peer in self.started.values():
            peer.close()


def reason_in(log: Path) -> str:
    """The first line that names an exception, since later ones follow from it; without one the last line."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(filter(EXCEPTION.match, lines), lines[-1] if lines else "")
