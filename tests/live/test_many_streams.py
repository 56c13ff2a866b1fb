"""Hundreds of sockets on one web process: what they take, and whether others are served."""

import asyncio
import logging
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psutil
import pytest
import websockets

from testing import stacks
from testing.files.pictures import photo

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.services, pytest.mark.soak]
IDLE_USERS, ACTIVE_USERS, SOCKETS = 50, 5, 10  # sockets of each user
MEGABYTE = 1 << 20
SECONDS = 15


class Web:
    """The web process, and a client whose requests are timed."""

    def __init__(self, stack):
        [self.process] = psutil.Process(stack.processes["web"].pid).children()
        self.client = stack.client().sign_up()

    def megabytes(self):
        return self.process.memory_info().rss / MEGABYTE

    def seconds(self):
        times = self.process.cpu_times()
        return times.user + times.system

    async def measured(self):
        """Its share of a processor in percent, and the median of other requests in milliseconds."""
        spent, begun = self.seconds(), time.monotonic()
        await asyncio.sleep(SECONDS)
        share = (self.seconds() - spent) / (time.monotonic() - begun)
        return round(100 * share, 1), round(1000 * await asyncio.to_thread(self.median_seconds), 1)

    def median_seconds(self):
        def ask():
            begun = time.monotonic()
            self.client.get("users/get-profile").raise_for_status()
            return time.monotonic() - begun

        return statistics.median(ask() for _ in range(100))


async def read(socket, received):
    async for message in socket:
        received.append(message)


def keep_sending(client, stop):
    while not stop.is_set():
        assert client.upload(photo()).status_code == 202
        time.sleep(0.2)


def test_500_idle_sockets_and_50_active_ones_leave_other_requests_quick(tmp_path, standin_folder):
    environment = {**stacks.UNTHROTTLED, "MAX_WAITING_IMAGES_PER_USER": "100000"}
    with stacks.running("production", tmp_path, standin_folder, **environment) as stack:
        web = Web(stack)
        with ThreadPoolExecutor(2) as threads:
            users = list(threads.map(lambda _: stack.client().sign_up(), range(IDLE_USERS + ACTIVE_USERS)))
        found = asyncio.run(measure(stack, web, users))
        log.info("%s", found)  # shown by -o log_cli=true -o log_cli_level=INFO
        assert found["megabytes"][1] - found["megabytes"][0] < 60
        assert found["idle: % of a processor, ms of others"][0] < 20
        assert found["active: % of a processor, ms of others"][1] < 100
        assert found["messages"] > 100


async def measure(stack, web, users):
    uri = f"ws://127.0.0.1:{stack.port}/ws/"
    before, received, stop = web.megabytes(), [], Event()
    async with asyncio.TaskGroup() as readers:
        sockets = []
        for user in users * SOCKETS:
            headers = user.authorization()
            sockets.append(await websockets.connect(uri, additional_headers=headers, proxy=None))
        tasks = [readers.create_task(read(socket, received)) for socket in sockets]
        idle = await web.measured()
        with ThreadPoolExecutor(ACTIVE_USERS) as threads:
            for user in users[:ACTIVE_USERS]:
                threads.submit(keep_sending, user, stop)
            active = await web.measured()
            stop.set()
        for socket in sockets:
            await socket.close()
        await asyncio.wait(tasks)
    return {
        "sockets": len(sockets),
        "megabytes": (round(before), round(web.megabytes())),
        "idle: % of a processor, ms of others": idle,
        "active: % of a processor, ms of others": active,
        "messages": len(received),
    }
