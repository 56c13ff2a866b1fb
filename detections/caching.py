"""Answers about a user's detections, kept until one of the detections changes.

Each owner has a version: a random text, dropped after every change and made anew by the next reader. An
answer is kept together with the version that was read before its rows were, so that after a change none is
found. Without Redis, versions are files: a command in another process drops them too.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.core.cache import BaseCache
from django.db import connection, transaction
from redis import Redis, RedisError

from objectvision import __version__
from objectvision.lib.redis import shared_cache, shared_client

log = logging.getLogger(__name__)
T = TypeVar("T")

# Of a version: no answer is found for longer, whatever was lost.
LONGEST_SECONDS = 10 * 60
# While the cache is away it is asked once in this time: time-outs do not add up.
PAUSE_SECONDS = 5
REPEAT_SECONDS = 1

_lock = threading.Lock()
_away = {"until": 0.0}
# Owners whose versions could not be dropped yet, each with a mark of the last try.
_undropped: dict[UUID, object] = {}


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer depends on besides its owner's rows, and how long it is kept at most.

    `slots` is how many answers of this kind are kept for an owner: a bound on what one user can fill.
    """

    kind: str
    text: str
    seconds: int
    slots: int = 8

    def key(self, owner: UUID) -> str:
        slot = sha256(self.text.encode()).digest()[0] % self.slots
        return f"{owner}:{self.kind}:{slot}:{__version__}"  # another version's answers may have another form


def kept(owner: UUID, question: Question, make: Callable[[], T]) -> T:
    """The kept answer, or what `make` returns. JSON cannot tell the two apart: no dates, no tuples."""
    version, answer = find(owner, question)
    if answer is None:
        answer = make()
        keep(owner, version, question, answer)
    return answer  # type: ignore[no-any-return]  # it comes from JSON


def kept_as_of(key: str, version: str, seconds: int, make: Callable[[], T]) -> T:
    """As `kept`, of rows whose own `version` the caller has read: a change need not drop it."""
    match _unless_away(lambda: _cache().get(f"{key}:{__version__}")):
        case [known, answer] if known == version:
            return answer  # type: ignore[no-any-return]  # it comes from JSON
    answer = make()
    _unless_away(lambda: _cache().set(f"{key}:{__version__}", [version, answer], seconds))
    return answer


def find(owner: UUID, question: Question) -> tuple[str | None, Any]:
    """The owner's version and the kept answer; None where there is none. Call it before rows are read.

    Within a transaction nothing is found or kept: its rows may never be committed.
    """
    if connection.in_atomic_block or owner in _undropped:
        return None, None
    return _unless_away(lambda: _found(owner, question)) or (None, None)


def keep(owner: UUID, version: str | None, question: Question, answer: Any) -> None:
    """Keep an answer that was made of rows read after this version."""
    if version is not None:
        _unless_away(
            lambda: _cache().set(question.key(owner), [version, question.text, answer], question.seconds)
        )


def drop_after_commit(owners: Iterable[UUID]) -> None:
    """Let no answer about these owners' detections be found any more."""
    changed = set(owners)

    def drop_answers() -> None:  # Django logs the name of a hook that fails: a partial has none
        drop(changed)

    transaction.on_commit(drop_answers, robust=True)


def drop(owners: set[UUID]) -> None:
    """As `drop_after_commit`, now. While the cache is away it is repeated until it succeeds."""
    # The first drop is tried though a read has just failed: other processes may still find the answers.
    attempt = _unless_away if _undropped else _attempt
    if not attempt(lambda: _drop(owners)):
        with _lock:
            is_first = not _undropped
            _undropped.update((owner, object()) for owner in owners)
        if is_first:
            threading.Thread(target=_drop_later, name="caching", daemon=True).start()


def _cache() -> BaseCache:
    return shared_cache("answers")


def _unless_away(call: Callable[[], T]) -> T | None:
    """What `call` returns; None while the cache is away."""
    return None if monotonic() < _away["until"] else _attempt(call)


def _attempt(call: Callable[[], T]) -> T | None:
    """What `call` returns; None, and a pause begins, if the cache is away."""
    try:
        return call()
    except ValueError:  # not written by this program
        return None
    except (RedisError, OSError) as error:
        _away["until"] = monotonic() + PAUSE_SECONDS
        log.warning("The cache of answers is away, so rows are read: %s", error)
        return None


def _found(owner: UUID, question: Question) -> tuple[str | None, Any]:
    key, client = question.key(owner), shared_client()
    if client:
        version, found = _found_in_redis(client, owner, key)
    else:
        version, found = _version_in_file(owner), _cache().get(key)
    match found:
        case [known, question.text, answer] if known == version:
            return version, answer
    return version, None


def _found_in_redis(client: Redis, owner: UUID, key: str) -> tuple[str | None, Any]:
    """The owner's version, made anew if it is missing, and the value at this key.

    It writes each time, so that a Redis that refuses writes is away: no version could be dropped there.
    """
    names = [_cache().make_key(name) for name in (_version_key(owner), key)]
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(names[0], json.dumps(uuid4().hex), LONGEST_SECONDS, nx=True)
        pipeline.mget(names)
        version, found = pipeline.execute()[1]
    return version and json.loads(version), found and json.loads(found)


def _drop(owners: set[UUID]) -> bool:
    if settings.REDIS_URL:
        _cache().delete_many(map(_version_key, owners))
    else:
        for owner in owners:
            _version_file(owner).unlink(missing_ok=True)
    return True


def _drop_later() -> None:
    while _undropped:
        sleep(REPEAT_SECONDS)
        late = dict(_undropped)
        try:
            _drop(set(late))
        except (RedisError, OSError):
            continue
        _away["until"] = 0.0
        with _lock:
            for owner, mark in late.items():
                if _undropped.get(owner) is mark:  # else it has changed again since
                    del _undropped[owner]


def _version_key(owner: UUID) -> str:
    return f"{owner}:version"


def _version_file(owner: UUID) -> Path:
    return settings.DATA_DIR / "versions" / str(owner)


def _version_in_file(owner: UUID) -> str | None:
    file, version = _version_file(owner), uuid4().hex
    try:
        return file.read_text() or None  # empty: another reader is about to write it
    except FileNotFoundError:
        file.parent.mkdir(exist_ok=True)
    try:
        with file.open("x") as new:
            new.write(version)
    except FileExistsError:
        return None
    return version
