"""What processes counted stays when they are killed, and their files do not pile up."""

import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from textwrap import dedent

import pytest

from objectvision.lib import metric_files, metrics
from testing.outages import mounted

SETUP = """
import os, signal, sys, time
import django
django.setup()
from objectvision.lib import metrics

def count(times):
    for _ in range(times):
        metrics.record_request("GET", "/x", 200, 0.01)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def forked(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return pid

def life(times):
    metrics.begin("web")
    count(times)
    die()
"""


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "DATA_DIR": str(tmp_path), "METRICS_TOKEN": "x" * 32}


@pytest.fixture
def folder(settings, tmp_path):
    settings.METRICS_DIR = tmp_path / "metrics"
    return settings.METRICS_DIR


@pytest.fixture
def begin(environment, folder):
    """Begins a process that runs these lines."""
    begun = []

    def begin(lines):
        process = subprocess.Popen(
            [sys.executable, "-c", SETUP + dedent(lines)], env=environment, stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def run(begin):
    """The exit status of a process that runs these lines."""

    def run(lines):
        process = begin(lines)
        process.communicate()
        return process.returncode

    return run


def counted():
    """Requests; those of the histogram; live processes."""
    found = {
        sample.name: sample.value
        for metric in metrics.collect()
        for sample in metric.samples
        if sample.labels.get("route") == "/x" and "le" not in sample.labels
    }
    live = [
        sample.value
        for metric in metrics.collect()
        for sample in metric.samples
        if sample.name == "objectvision_processes"
    ]
    names = ("requests_total", "request_duration_seconds_count")
    return (*(found.get(f"objectvision_{name}", 0) for name in names), sum(live))


def names(folder):
    return sorted(file.name.partition("_")[0] for file in folder.iterdir())


def test_many_killed_processes_leave_their_counts_and_no_files(run, folder):
    assert run("for _ in range(20): os.waitpid(forked(lambda: life(5)), 0)") == 0
    assert len(names(folder)) == 6  # those of the last one, and what is kept of the others
    assert counted() == (100, 100, 0)
    assert names(folder) == ["folding", "past.json"]
    assert counted() == (100, 100, 0)


def test_a_fold_that_was_killed_before_it_deleted_files_counts_them_once(run, folder, tmp_path):
    run("life(5)")
    run("life(7)")
    dead = [file for file in folder.iterdir() if file.suffix in {".db", ".lock"}]
    for file in dead:
        shutil.copy(file, tmp_path)
    metric_files.fold_dead()
    for file in dead:
        shutil.copy(tmp_path / file.name, folder)
    with (folder / "folding").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process is about to finish it
        assert counted()[:2] == (12, 12)
        assert len(names(folder)) == 2 + len(dead)
    assert counted() == (12, 12, 0)
    assert names(folder) == ["folding", "past.json"]


def test_a_forked_process_counts_for_itself_and_outlives_its_parent(begin, folder):
    """As Celery's do. It must not seem that the parent lives as long as its child."""
    parent = begin(
        """
        metrics.begin("web")
        count(3)

        def work():
            metrics.measure_process()
            count(2)
            print("counted", flush=True)
            time.sleep(60)

        child = forked(work)
        count(1)
        print(child, flush=True)
        time.sleep(60)
        """
    )
    lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    (child,) = lines - {"counted"}
    assert counted() == (6, 6, 2)
    parent.kill()
    parent.wait()
    assert counted() == (6, 6, 1)
    os.kill(int(child), 9)
    parent.stdout.read()  # until it has ended
    assert counted() == (6, 6, 0)


def test_counts_never_go_back_while_processes_die_and_are_folded(begin):
    process = begin(
        """
        for _ in range(10):
            children = [forked(lambda: life(5)) for _ in range(6)]
            for child in children:
                os.waitpid(child, 0)
        """
    )
    seen = 0
    while process.poll() is None:
        now, _, _ = counted()
        assert now >= seen
        seen = now
    assert counted() == (300, 300, 0)


ENTRY = b"\x40\0\0\0" + bytes(4) + b"\x10\0\0\0[1, 2]" + b" " * 99  # of a library that is another one


def entry(key):
    """A file with one value, as the library writes it."""
    text = json.dumps(key).encode()
    text += b" " * (8 - (len(text) + 4) % 8)
    return struct.pack("ii", 8 + 4 + len(text) + 16, 0) + struct.pack("i", len(text)) + text + bytes(99)


DAMAGED = {
    "empty": b"",
    "noise": b"\xff\xff\xff\x7f" * 64,
    "other": ENTRY,
    "bucket": entry(["objectvision_decode_seconds", "objectvision_decode_seconds_bucket", {"le": "abc"}, ""]),
    "no limit": entry(["objectvision_decode_seconds", "objectvision_decode_seconds_bucket", {}, ""]),
    "list": entry(["objectvision_requests", "objectvision_requests_total", {"kind": []}, ""]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_costs_what_is_in_it_and_no_more(run, folder, content):
    run("life(5)")
    (dead,) = folder.glob("counter_*.db")
    dead.write_bytes(content)
    run("life(2)")
    assert counted() == (2, 7, 0)
    (folder / "past.json").write_bytes(content)
    run("life(1)")
    assert counted()[:2] == (1, 1)


def test_a_process_that_records_nothing_leaves_nothing(run, environment, folder):
    assert run("count(5)") == 0
    environment["METRICS_TOKEN"] = ""
    assert run("life(5)") == -9
    assert not folder.exists()


FULL = """
metrics.begin("web")
with open(f"{os.environ['DATA_DIR']}/metrics/full", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
for number in range(200):
    for method in metrics.METHODS:
        metrics.record_request(method, f"/api/v1/a/rather/long/route/{number}", 200, 0.01)
count(1)
os._exit(7)
"""


def test_a_full_disk_ends_no_process(run, folder):
    """A mapped page for which there is no place would be a SIGBUS."""
    with mounted(folder, "size=4M"):
        assert run(FULL) == 7
        assert run("metrics.begin('web'); forked(lambda: count(1)); count(1); os.wait(); os._exit(7)") == 7
        assert counted()[0] == 1


def test_a_process_for_which_there_is_no_place_leaves_the_disk_as_it_was(run, folder):
    with mounted(folder, "size=3M"):
        assert run("metrics.begin('web'); count(1); os._exit(7)") == 7
        assert names(folder) == ["folding"]


def test_gauges_of_dead_processes_are_not_read_while_a_full_disk_keeps_their_files(run, folder):
    with mounted(folder, "size=4M"):
        run("life(5)")
        with suppress(OSError), (folder / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        assert counted() == (5, 5, 0)
        assert "gauge" in names(folder)
