"""Services that are unreachable, slow or full, for as long as a test needs."""

import socket
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest
from django.db import OperationalError, connection


def fails_at(table):
    """A context in which the database refuses new rows of this table."""

    def execute(run, sql, parameters, many, context):
        if f'INSERT INTO "{table}"' in sql:
            raise OperationalError("disk full")
        return run(sql, parameters, many, context)

    return connection.execute_wrapper(execute)


@contextmanager
def mounted(folder, *options):
    """A file system in memory, mounted there. Skips the test where mounting is forbidden."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Gate:
    """A proxy in front of a server. While shut, it accepts connections and data but forwards nothing."""

    def __init__(self, target):
        self.target = (target.host, target.port)
        self.passing = threading.Event()
        self.passing.set()
        self.shut, self.open = self.passing.clear, self.passing.set

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        with suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        with suppress(OSError), one, other:
            while data := one.recv(1 << 16):
                self.passing.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
