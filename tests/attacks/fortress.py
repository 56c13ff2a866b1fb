"""Attacks on the running system, and what must hold after each: another user is served, memory and database
connections are what they were."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil

from testing import stacks
from testing.files.pictures import photo

MEGABYTE = 1 << 20
WEB_PROCESSES, POOL = 2, 8
MOST_GROWTH = 60 * MEGABYTE
# A request that an attack delays waits for a limit of the server, and these are longer.
PROMPT_SECONDS = 5
ATTACKER = "127.0.0.66"  # limits go by address: the other user comes from 127.0.0.1


class Fortress:
    """Production with two web processes, and a user who takes no part in the attack."""

    def __init__(self, stack):
        self.stack = stack
        self.other = stack.client().sign_up()
        assert self.other.upload(photo(), wait=30).status_code == 200
        self.fill_pools()

    def web_processes(self):
        return psutil.Process(self.stack.processes["web"].pid).children()

    def memory(self):
        """The most that any web process has, in bytes."""
        return max(process.memory_info().rss for process in self.web_processes())

    def settled_memory(self, most):
        """The memory of the largest web process in bytes, once it is less than `most`."""
        deadline = time.monotonic() + 20
        while (settled := self.memory()) >= most and time.monotonic() < deadline:
            time.sleep(0.1)
        return settled

    def connections(self):
        database = self.stack.environment["DB_NAME"]
        return self.stack.value("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database)

    def ask(self, *_):
        """Status and seconds of a request of the other user's that needs the database."""
        begun = time.monotonic()
        response = self.other.another().get("users/get-profile")
        return response.status_code, time.monotonic() - begun

    def fill_pools(self):
        """The statuses of as many requests at once as there are database connections."""
        with ThreadPoolExecutor(WEB_PROCESSES * POOL) as threads:
            return {status for status, _ in threads.map(self.ask, range(WEB_PROCESSES * POOL))}

    @contextmanager
    def attacked(self):
        """A block for an attack; gives the memory limit and asserts at the end that all is as before."""
        connections, memory = self.connections(), self.memory()
        most_memory = memory + MOST_GROWTH
        yield most_memory
        status, seconds = self.ask()
        assert status == 200
        assert seconds < PROMPT_SECONDS
        assert self.fill_pools() == {200}
        assert self.connections() <= max(connections, WEB_PROCESSES * POOL + 10)
        settled = self.settled_memory(most_memory)
        assert settled < most_memory, f"{(settled - memory) / MEGABYTE:.0f} MB more than before"


@contextmanager
def fortified(folder, model, **environment):
    numbers = {"WEB_CONCURRENCY": str(WEB_PROCESSES), "DB_POOL_SIZE": str(POOL)}
    environment = {**numbers, **stacks.SLOW_PASSWORDS, **environment}
    with stacks.running("production", folder, model, **environment) as stack:
        yield Fortress(stack)


def connect(stack, address=ATTACKER, **options):
    return socket.create_connection(("127.0.0.1", stack.port), 10, (address, 0), **options)
