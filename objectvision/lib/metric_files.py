"""Metrics of all processes that share DATA_DIR, in files of each process.

A process holds a lock on a file beside these for as long as it lives: the kernel releases it, however the
process ends, and no process id has to be unique among containers. What processes counted that are gone is
added up in PAST.
"""

import fcntl
import json
import logging
import os
import struct
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from django.conf import settings
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.values import MultiProcessValue

log = logging.getLogger(__name__)

# Bytes that are written at once, and no more: a mapped page for which a full disk has no place would end the
# process. Enough for every route with every method that it takes.
SIZES = {"counter": 1 << 20, "histogram": 2 << 20, "gauge_livesum": 64 << 10}
BLOCK = bytes(16 << 10)
ENTRY_BYTES = 32  # of a value beside its key, at most
GAUGE = "gauge"
PAST, FOLDING = "past.json", "folding"
# What a file that was cut short or overwritten raises.
UNREADABLE = (struct.error, RuntimeError, ValueError, TypeError, AttributeError, KeyError)
FILES = "*_*.db"
MOST_TRIES = 20

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""The names of a metric and of one of its samples, and the sample's labels."""
Sums = defaultdict[Key, float]


@dataclass(frozen=True, slots=True)
class Record:
    """The files of this process, and the lock that says that it lives."""

    name: str
    lock: IO[bytes]

    @classmethod
    def begin(cls) -> "Record":
        """Raises OSError."""
        folder = settings.METRICS_DIR
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid4().hex
        unlocked = folder / f"{name}.new"
        lock = unlocked.open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(folder / f"{name}.lock")  # others see it locked only
        try:
            for kind, size in SIZES.items():
                with (folder / f"{kind}_{name}.db").open("wb") as file:
                    file.writelines([BLOCK] * (size // len(BLOCK)))
        except OSError:
            delete_files([name])  # else they take the last of a full disk
            raise
        return cls(name, lock)


_record: Record | None = None
_late: "list[LateValue]" = []
_used = Counter[str]()  # bytes of each file
_full = set[str]()


def own_name() -> str:
    return _record.name if _record else ""


SharedValue = MultiProcessValue(own_name)  # type: ignore[no-untyped-call]  # the library's


class LateValue:
    """The library's value in a file of a process that records. In others, such as commands, it keeps none."""

    __slots__ = ("_parameters", "_shared")

    def __init__(self, *parameters: Any, multiprocess_mode: str = "", **_: Any) -> None:
        self._parameters = *parameters, multiprocess_mode
        self._shared: Any = None
        _late.append(self)
        if _record:
            self.begin()

    def begin(self) -> None:
        kind, *names, mode = self._parameters
        if has_room(f"{kind}_{mode}" if mode else kind, mmap_key(*names)):
            self._shared = SharedValue(*self._parameters)

    def inc(self, amount: float) -> None:
        if _record and self._shared:
            self._shared.inc(amount)

    def set(self, value: float, timestamp: float | None = None) -> None:
        if _record and self._shared:
            self._shared.set(value, timestamp)

    def get(self) -> float:
        return self._shared.get() if _record and self._shared else 0.0

    def get_exemplar(self) -> None:
        """There is none."""


def has_room(kind: str, key: str) -> bool:
    """Whether there is room for a value, which then is taken."""
    needed = len(key) + ENTRY_BYTES
    if _used[kind] + needed <= SIZES[kind]:
        _used[kind] += needed
        return True
    if kind not in _full:
        log.warning("This process has too many metrics: new ones such as %s are not recorded", key)
    _full.add(kind)
    return False


def begin() -> None:
    """Record in this process from now on, and in those that it forks; not where no file can be made."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.METRICS_DIR)  # where the library opens them
    fold_dead()
    renew()
    if _record:
        for value in _late:
            value.begin()


def renew() -> None:
    global _record  # noqa: PLW0603  # one a process
    try:
        _record = Record.begin()
    except OSError as error:
        _record = None
        log.warning("This process records no metrics: %s", error)


def renew_after_fork() -> None:
    """The library opens the files anew as it finds another name."""
    if _record:
        _record.lock.close()  # the parent's: it would seem to live as long as this process
        renew()


os.register_at_fork(after_in_child=renew_after_fork)


def fold_dead() -> None:
    """Add up what processes counted that are gone, and delete their files. Not while another process does.

    It may be killed at any point: names whose numbers are in the sums stay there until their files are gone.
    """
    try:
        with (settings.METRICS_DIR / FOLDING).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names, sums = read_past()
            delete_files(names)
            fold(find_dead(), sums)
    except (FileNotFoundError, BlockingIOError):  # nothing was recorded yet; another process folds
        return
    except OSError as error:
        log.warning("The files of processes that are gone stay: %s", error)


def find_dead() -> list[str]:
    locks = settings.METRICS_DIR.glob("*.lock")
    return [file.stem for file in locks if file.stem != own_name() and is_free(file)]


def fold(dead: Collection[str], sums: Sums) -> None:
    if not dead:
        return
    for file in settings.METRICS_DIR.glob(FILES):
        kind, name = kind_and_name(file)
        if name in dead and kind != GAUGE:
            add(sums, read_values(file))
    write_past(dead, sums)
    delete_files(dead)


def is_free(file: Path) -> bool:
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may ask at once
        except BlockingIOError:
            return False
        return True


def delete_files(names: Collection[str]) -> None:
    """The locks last: as long as they are there, the rest is found again."""
    for name in names:
        for kind in SIZES:
            (settings.METRICS_DIR / f"{kind}_{name}.db").unlink(missing_ok=True)
        (settings.METRICS_DIR / f"{name}.lock").unlink(missing_ok=True)


def kind_and_name(file: Path) -> tuple[str, str]:
    kind, *_, name = file.stem.split("_")
    return kind, name


def read_values(file: Path) -> list[tuple[Key, float]]:
    """What a process has counted. Raises FileNotFoundError if it was folded meanwhile."""
    try:
        found = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]  # as above
        return [(key_of(*json.loads(key)), value) for key, value, _, _ in found]
    except UNREADABLE as error:
        log.warning("Metrics in %s cannot be read: %s", file.name, error)
        return []


def key_of(metric: str, sample: str, labels: dict[str, str], _text: str = "") -> Key:
    """Raises UNREADABLE."""
    if sample.endswith("_bucket"):
        float(labels["le"])
    if not all(isinstance(text, str) for text in labels.values()):
        raise TypeError(f"labels of {sample}")
    return metric, sample, tuple(sorted(labels.items()))


def add(sums: Sums, values: Iterable[tuple[Key, float]]) -> None:
    for key, value in values:
        sums[key] += value


def read_past() -> tuple[set[str], Sums]:
    """The sums of processes that are gone, and the names of those whose files may still be there."""
    sums: Sums = defaultdict(float)
    try:
        past = json.loads((settings.METRICS_DIR / PAST).read_text())
        add(sums, ((key_of(*key), value) for *key, value in past["sums"]))
        return set(past["names"]), sums
    except FileNotFoundError:
        return set(), sums
    except UNREADABLE as error:
        log.warning("The metrics of processes that are gone cannot be read: %s", error)
        return set(), sums


def write_past(names: Collection[str], sums: Sums) -> None:
    past = [[metric, sample, dict(labels), value] for (metric, sample, labels), value in sums.items()]
    text = json.dumps({"names": list(names), "sums": past})
    new = settings.METRICS_DIR / f"{PAST}.new"
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(settings.METRICS_DIR / PAST)


def read_sums() -> Sums:
    """What all processes have counted since the first one began, and the gauges of those that live."""
    for _ in range(MOST_TRIES):
        with suppress(FileNotFoundError):
            return try_to_read()
    raise TimeoutError


def try_to_read() -> Sums:
    """Raises FileNotFoundError if files of a dead process were folded meanwhile."""
    files = [*settings.METRICS_DIR.glob(FILES)]
    dead = find_dead()  # on a full disk they stay
    folded, sums = read_past()
    for file in files:
        kind, name = kind_and_name(file)
        if name not in folded and not (kind == GAUGE and name in dead):
            add(sums, read_values(file))
    return sums
