"""Requests to the systems, and how long they take."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from io import BytesIO
from statistics import median
from typing import TYPE_CHECKING, Any

import requests
from PIL import Image, ImageEnhance, ImageOps

from testing import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.peers.running import Peer

POLL_SECONDS = 0.25
MOST_SECONDS = 1800
CLIENTS = 8
PEER_CLIENTS = 4
DARKEST, BRIGHTEST = 0.8, 1.2


class LoadError(Exception):
    """A system did not do what was asked of it, so there is nothing to measure."""


def photos(source: Path, count: int, size: tuple[int, int], quality: int) -> list[bytes]:
    """JPEGs of the same scene, no two alike: some mirrored, each of a brightness of its own."""
    with Image.open(source) as file:
        scene = file.convert("RGB").resize(size)
    return [variant(scene, number, number / count, quality) for number in range(count)]


def variant(scene: Image.Image, number: int, share: float, quality: int) -> bytes:
    turned = ImageOps.mirror(scene) if number % 2 else scene
    lit = ImageEnhance.Brightness(turned).enhance(DARKEST + (BRIGHTEST - DARKEST) * share)
    out = BytesIO()
    lit.save(out, "JPEG", quality=quality)
    return out.getvalue()


# A system of this project, through a client of `testing.clients`


def batches_per_second(client: Any, batches: Sequence[Sequence[bytes]]) -> float:
    """Images a second, from the first byte until the last row of all batches is completed."""
    started = time.time()
    with ThreadPoolExecutor(len(batches)) as threads:
        jobs = list(threads.map(lambda batch: send_batch(client.another(), batch), batches))
    ended = max(wait_for_job(client, job, len(batch)) for job, batch in zip(jobs, batches, strict=True))
    return sum(map(len, batches)) / (ended - started)


def send_batch(client: Any, batch: Sequence[bytes]) -> str:
    """The id of the job."""
    files = [("images", (f"{number}.jpg", photo)) for number, photo in enumerate(batch, 1)]
    answer = client.post("detect/batch", files=files)
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def wait_for_job(client: Any, job_id: str, images: int) -> float:
    """When all images were processed, in seconds since the epoch, as the last row says."""
    job = until(lambda: finished_job(client, job_id))
    if job["progress"]["processed"] != images:
        raise LoadError(f"Not all of {images} images were processed: {job}")
    return datetime.fromisoformat(job["finished_at"]).timestamp()


def finished_job(client: Any, job_id: str) -> Any:
    job = client.get(f"detect/jobs/{job_id}").json()
    return job if job["finished_at"] else None


def until(look: Callable[[], Any]) -> Any:
    """The first true result of `look`, which is called seldom: each call costs time that is measured."""
    return waiting.until(look, MOST_SECONDS, every=POLL_SECONDS)


def singles_per_second(client: Any, pictures: Sequence[bytes]) -> float:
    """Images a second of photos that many clients send one by one, until the last one is processed."""
    started = time.time()
    with ThreadPoolExecutor(CLIENTS) as threads:
        shares = list(
            threads.map(lambda first: send_singles(client, pictures[first::CLIENTS]), range(CLIENTS))
        )
    ended = max(wait_for_job(client, job, 1) for jobs in shares for job in jobs)
    return len(pictures) / (ended - started)


def send_singles(client: Any, pictures: Sequence[bytes]) -> list[str]:
    """The ids of the jobs."""
    own = client.another()
    answers = [own.upload(photo) for photo in pictures]
    for answer in answers:
        answer.raise_for_status()
    return [str(answer.json()["job_id"]) for answer in answers]


def milliseconds_of_one(client: Any, pictures: Sequence[bytes]) -> float:
    """The p50 of one photo after the other, with `Prefer: wait`."""
    return p50(lambda photo: detect(client, photo), pictures)


def detect(client: Any, photo: bytes) -> None:
    answer = client.upload(photo, wait=30)
    if answer.status_code != requests.codes.ok:
        raise LoadError(f"A photo was not processed: {answer.status_code} {answer.text}")


# A peer


def peer_per_second(peer: Peer, pictures: Sequence[bytes]) -> float:
    """Images a second with four clients at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(PEER_CLIENTS) as threads:
        list(threads.map(lambda first: send_all(peer, pictures[first::PEER_CLIENTS]), range(PEER_CLIENTS)))
    return len(pictures) / (time.perf_counter() - started)


def send_all(peer: Peer, pictures: Sequence[bytes]) -> None:
    with requests.Session() as http:
        for photo in pictures:
            peer.detect(http, photo)


def peer_milliseconds(peer: Peer, pictures: Sequence[bytes]) -> float:
    """The p50 of one photo after the other."""
    with requests.Session() as http:
        return p50(lambda photo: peer.detect(http, photo), pictures)


def p50(act: Callable[[Any], None], arguments: Sequence[Any]) -> float:
    """The median time of a call in milliseconds; the first one is not counted."""
    taken = []
    for argument in arguments:
        started = time.perf_counter()
        act(argument)
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken[1:])
