"""Damaged pictures by the thousand, over real HTTP: `MUTATIONS` of them, from `MUTATION_SEED` on."""

import os
import random
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from testing import stacks
from testing.files.pictures import good, photo
from testing.waiting import until
from tests.attacks.fortress import fortified

COUNT = int(os.environ.get("MUTATIONS", "20000"))
SEED = int(os.environ.get("MUTATION_SEED") or random.SystemRandom().randrange(1 << 32))
OPEN_IMAGES = "SELECT count(*) FROM detections_detectionimage WHERE state IN ('waiting', 'claimed')"
FAILURES = "SELECT DISTINCT error_code FROM detections_detectionimage WHERE state = 'failed'"


MOST_DAMAGES = 4  # of one file
LONGEST_STRETCH = 64  # bytes


def mutations(seed, count):
    """`count` file names and contents."""
    dice = random.Random(seed)
    originals = [(name, content) for name, (content, _) in good().items()]
    return islice(iter(lambda: damaged(dice, *dice.choice(originals)), None), count)


def damaged(dice, name, content):
    for _ in range(dice.randint(1, MOST_DAMAGES)):
        content = dice.choice(DAMAGES)(dice, content, dice.randrange(len(content) + 1))
    return name, content


def flipped(dice, content, at):
    byte = bytes(each ^ 1 << dice.randrange(8) for each in content[at : at + 1])
    return content[:at] + byte + content[at + 1 :]


def cut(_, content, at):
    return content[:at]


def removed(dice, content, at):
    return content[:at] + content[at + dice.randint(1, LONGEST_STRETCH) :]


def duplicated(dice, content, at):
    return content[:at] + content[at : at + dice.randint(1, LONGEST_STRETCH)] + content[at:]


def overwritten(dice, content, at):
    stretch = dice.choice([b"\0", b"\xff"]) * dice.randint(1, LONGEST_STRETCH)
    return content[:at] + stretch + content[at + len(stretch) :]


DAMAGES = [flipped, flipped, flipped, cut, removed, duplicated, overwritten]


@pytest.mark.soak
@pytest.mark.services
def test_damaged_pictures_cause_no_server_error_and_end_no_worker(tmp_path, standin_folder):
    sys.stdout.write(f"{COUNT} mutations of the seed {SEED}\n")  # to repeat a failure
    unlimited = {**stacks.UNTHROTTLED, "MAX_WAITING_IMAGES_PER_USER": str(COUNT)}
    with fortified(tmp_path, standin_folder, **unlimited) as fortress:
        own = threading.local()

        def send(mutation):
            name, content = mutation
            own.client = getattr(own, "client", None) or fortress.other.another()
            return own.client.upload(content, name).status_code

        with fortress.attacked(), ThreadPoolExecutor(8) as threads:
            statuses = Counter(threads.map(send, mutations(SEED, COUNT)))
            until(lambda: fortress.stack.value(OPEN_IMAGES) == 0, 600, every=1)
        assert set(statuses) == {202, 400}
        assert {code for (code,) in fortress.stack.rows(FAILURES)} <= {"corrupt_image"}
        assert fortress.other.upload(photo(), wait=30).status_code == 200
        logs = {log.name: log.read_text() for log in fortress.stack.folder.glob("*.log")}
    assert [name for name, log in logs.items() if "Traceback" in log] == []
