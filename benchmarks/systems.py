"""The systems that are measured: each is started when a measure first asks for it, and ended with the run."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import yaml

from benchmarks import large, loads
from benchmarks.peers.running import Peers
from detections.operations import demo
from testing import shared, stacks

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from benchmarks.figures import Figure
    from benchmarks.large import Large
    from benchmarks.peers.running import Peer

PHOTO, LARGE_PHOTO = (810, 1080), (3024, 4032)
PHOTO_QUALITY, LARGE_QUALITY = 90, 88
# As a deployment has them, but without limits of requests: all come from one user at one address.
ENVIRONMENT = {**stacks.UNTHROTTLED, "CLAIM_LEASE_SECONDS": "60", "ACCESS_TOKEN_EXPIRE_MINUTES": "1440"}
WARM_UP = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is sent, asked for and stored."""

    photos: int = 100
    """Of a batch, of which there are two."""
    singles: int = 50
    large: int = 12
    """Of a batch, of which there are two."""
    pages: int = 20
    requests: int = 1000
    detections: int = 100_000
    drops: int = 10
    """Of a picture on the console."""


QUICK = Sizes(photos=4, singles=4, large=1, pages=3, requests=40, detections=400, drops=1)


class Systems:
    """Everything that measures need. A context manager."""

    def __init__(self, model: Path, environments: Path, folder: Path, sizes: Sizes) -> None:
        self.model, self.folder, self.sizes = model.resolve(), folder, sizes
        self.opened = ExitStack()
        # ultralytics recognises the format by the folder's name.
        named = folder / "peer_openvino_model"
        named.symlink_to(self.model, target_is_directory=True)
        self.peers = Peers(environments, named, folder, self.warm_peer)
        self.opened.callback(self.peers.close)

    def __enter__(self) -> Self:
        self.opened.callback(shared.remove)
        self.opened.callback(stacks.drop_prepared)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.opened.close()

    @cached_property
    def production(self) -> Any:
        """gunicorn, one inference worker, a default worker and beat, on PostgreSQL and a Redis of its own."""
        return self.warm(stacks.running("production", self.folder / "production", self.model, **ENVIRONMENT))

    @cached_property
    def embedded(self) -> Any:
        """`manage.py serve` on SQLite."""
        return self.warm(stacks.running("embedded", self.folder / "embedded", self.model, **ENVIRONMENT))

    @cached_property
    def spare(self) -> Any:
        """A web process with a bare view beside the API. Measures start its workers."""
        return self.only_web("spare")

    @cached_property
    def counted(self) -> Any:
        """The same, whose processes note their statements in `statements_log`."""
        return self.only_web("counted", STATEMENTS_LOG=str(self.statements_log))

    @property
    def statements_log(self) -> Path:
        return self.folder / "statements"

    @cached_property
    def large(self) -> Large:
        """A system with many rows, and a worker for exports."""
        stack = self.only_web("large")
        stack.background()
        return large.filled(stack, self.sizes.detections)

    def only_web(self, name: str, **environment: str) -> Any:
        stack = self.opened.enter_context(stacks.production(self.folder / name, self.model))
        own = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
        stack.environment.update(ENVIRONMENT | own | environment)
        return stack.web()

    def warm(self, system: AbstractContextManager[Any]) -> Any:
        stack = self.opened.enter_context(system)
        loads.milliseconds_of_one(stack.shared_client, self.photos[:WARM_UP])
        loads.batches_per_second(stack.shared_client, [self.photos[:WARM_UP]])
        return stack

    def warm_peer(self, peer: Peer) -> None:
        loads.peer_milliseconds(peer, self.photos[:WARM_UP])

    @cached_property
    def photos(self) -> list[bytes]:
        return loads.photos(self.source, self.sizes.photos, PHOTO, PHOTO_QUALITY)

    @cached_property
    def large_photos(self) -> list[bytes]:
        return loads.photos(self.source, self.sizes.large, LARGE_PHOTO, LARGE_QUALITY)

    @property
    def singles(self) -> list[bytes]:
        return self.photos[: self.sizes.singles]

    @cached_property
    def source(self) -> Path:
        """A picture in which the model finds something."""
        names = yaml.safe_load((self.model / "metadata.yaml").read_text("utf-8"))["names"]
        return demo.samples(names.values())[0]

    def original(self) -> Figure:
        """Images a second of torch with a Celery task for each image (`benchmarks.original`)."""
        if not find_spec("ultralytics"):
            return "ultralytics is not installed"
        return self.original_worker.per_second(self.photos * 2)

    @cached_property
    def original_worker(self) -> OriginalWorker:
        worker = OriginalWorker(self.spare)
        worker.per_second(self.photos[:WARM_UP])
        return worker

    def engine(self) -> float:
        """Images a second of the runtime alone."""
        command = [sys.executable, "-m", "benchmarks.engine", str(self.model)]
        images = ["--images", str(2 * self.sizes.photos)]
        done = subprocess.run(
            [*command, *images], cwd=stacks.ROOT, capture_output=True, text=True, check=True
        )
        return float(done.stdout)


class OriginalWorker:
    """A worker in a system that runs the tasks of `benchmarks.original`."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        self.user = large.user_id(stack.shared_client)
        stack.worker("original", "original")

    def per_second(self, photos: list[bytes]) -> float:
        with TemporaryDirectory(dir=self.stack.folder) as folder:
            for number, photo in enumerate(photos):
                (Path(folder) / f"{number:04}.jpg").write_bytes(photo)
            call = f"original.images_per_second({self.user!r}, {folder!r})"
            done = self.stack.manage("shell", "-c", f"from benchmarks import original; print({call})")
        return float(done.split()[-1])
