"""Hosts on a network of their own, each of which can be cut off as by a broken switch.

A host is a network namespace. PostgreSQL and Redis run outside and are reached at the network's address.
"""

import random
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from testing import services, stacks
from testing.waiting import until

UNPRIVILEGED = "postgres"  # PostgreSQL refuses to run as root
INSTALLED = "/usr/lib/postgresql"
TRUST = "local all all trust\nhost all all 198.18.0.0/15 trust\n"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """A bridge. Its subnet is one of those that are reserved for benchmarks (RFC 2544)."""

    def __init__(self):
        self.name = f"ov{uuid4().hex[:6]}"
        self.subnet = f"198.18.{random.SystemRandom().randrange(256)}"
        self.address, self.mac = f"{self.subnet}.1", "02:00:00:00:00:01"


class Host:
    def __init__(self, network, number):
        self.network = network
        self.name = f"{network.name}-{number}"
        self.port = f"{network.name}p{number}"
        self.address, self.mac = f"{network.subnet}.{number}", f"02:00:00:00:00:{number:02}"
        self.prefix = ("ip", "netns", "exec", self.name)

    def connect(self):
        ip("link", "set", self.port, "master", self.network.name)

    def cut_off(self):
        """Frames in both directions vanish; neither side is told."""
        ip("link", "set", self.port, "nomaster")

    def set_up(self):
        inside, device = ("-n", self.name), "eth0"
        peer = ("peer", "name", device, "netns", self.name, "address", self.mac)
        ip("link", "add", self.port, "type", "veth", *peer)
        ip(*inside, "address", "add", f"{self.address}/24", "dev", device)
        ip(*inside, "link", "set", device, "up")
        ip(*inside, "link", "set", "lo", "up")
        # Known for good: else new connections to a host that is cut off fail at once.
        known = ("nud", "permanent", "dev")
        ip("neighbour", "add", self.address, "lladdr", self.mac, *known, self.network.name)
        ip(*inside, "neighbour", "add", self.network.address, "lladdr", self.network.mac, *known, device)
        self.connect()
        ip("link", "set", self.port, "up")


@contextmanager
def network_of(count):
    """A network and that many hosts. Skips the test where network namespaces are forbidden."""
    network, undo = Network(), ExitStack()
    with undo:
        try:
            ip("link", "add", network.name, "address", network.mac, "type", "bridge")
            undo.callback(ip, "link", "delete", network.name)
            ip("address", "add", f"{network.address}/24", "dev", network.name)
            ip("link", "set", network.name, "up")
            hosts = [Host(network, number) for number in range(2, count + 2)]
            for host in hosts:
                ip("netns", "add", host.name)
                undo.callback(ip, "netns", "delete", host.name)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this machine allows no network namespaces: {getattr(error, 'stderr', error)}")
        for host in hosts:
            host.set_up()
        yield network, hosts


def postgresql_program(name):
    """Of the newest version that is installed. Debian has them outside of PATH."""
    versions = sorted(Path(INSTALLED).glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if found := shutil.which(name) or (versions and versions[-1]):
        return found
    pytest.skip(f"this machine has no {name}")


@contextmanager
def postgresql(address, access=TRUST):
    """A PostgreSQL of the test's own at this address; what connects to it. `access`: its pg_hba.conf."""
    programs = [postgresql_program(name) for name in ("initdb", "postgres")]
    own = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": [], "cwd": "/"}
    with tempfile.TemporaryDirectory(prefix="objectvision-postgresql-") as folder, ExitStack() as undo:
        shutil.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
        data, port = Path(folder, "data"), services.free_port()
        initdb = [programs[0], "--no-sync", "--username", "postgres", "--encoding", "UTF8", "--pgdata", data]
        subprocess.run(initdb, check=True, capture_output=True, **own)
        (data / "pg_hba.conf").write_text(access)
        listen = ["-c", f"listen_addresses={address}", "-c", f"unix_socket_directories={folder}"]
        log = undo.enter_context(Path(folder, "log").open("ab"))
        server = subprocess.Popen(
            [programs[1], "-D", data, "-p", str(port), *listen, "-c", "fsync=off"],
            stdout=log,
            stderr=log,
            **own,
        )
        undo.callback(server.wait)
        undo.callback(server.send_signal, signal.SIGINT)  # does not wait for its clients
        parameters = {"host": address, "port": port, "user": "postgres", "password": "", "dbname": "postgres"}
        until(lambda: services.postgresql_answers(**parameters))
        yield parameters


class SpreadProduction(stacks.Production):
    """Production's processes on hosts: each of `hosts` runs the process of its name."""

    def __init__(self, folder, model, network, hosts, server):
        super().__init__(folder, server["dbname"], model, **server)
        self.hosts = hosts
        self.address = hosts["web"].address if "web" in hosts else network.address
        self.environment.update(
            ALLOWED_HOSTS=self.address, REDIS_URL=f"redis://{network.address}:{self.redis_port}/0"
        )
        self.redis_options = ("--bind", "127.0.0.1", network.address, "--protected-mode", "no")

    def start(self, name, *command):
        prefix = self.hosts[name].prefix if name in self.hosts else ()
        return super().start(name, *prefix, *command)


@contextmanager
def spread(folder, model, *names):
    """A system after `manage.py setup`, of which PostgreSQL and Redis run; a host for each name."""
    with network_of(len(names)) as (network, hosts), postgresql(network.address) as server:
        stack = SpreadProduction(folder, model, network, dict(zip(names, hosts, strict=True)), server)
        try:
            stack.redis()
            stack.manage("setup")
            yield stack
        finally:
            stack.close()
