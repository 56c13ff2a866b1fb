"""The receivers of docs/webhooks.md, as processes on loopback."""

import json
import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
from base64 import b64encode
from contextlib import closing, contextmanager, suppress

import pytest
import requests

from testing import services, stacks
from testing.guides.blocks import block_with
from testing.waiting import until

PAGE = (stacks.ROOT / "docs" / "webhooks.md").read_text()
SETTINGS = """
import os
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "events.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["hooks"]
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
ROOT_URLCONF = "urls"
SECRET_KEY = "of-the-receiver"
WEBHOOK_SECRET = os.environ["WEBHOOK_SECRET"]
"""
URLS = """
from django.urls import path
from hooks import views
urlpatterns = [path("hooks", views.receive)]
"""


class Receiver:
    """A process in a folder of its own, which listens once it has got a secret."""

    prints = True
    """Whether it prints each new event."""

    def __init__(self, folder):
        self.folder = folder
        self.port = services.free_port()
        self.url = f"http://localhost:{self.port}/hooks"
        self.environment = {**os.environ}

    def prepare(self):
        raise NotImplementedError

    @property
    def command(self):
        raise NotImplementedError

    def stored(self):
        """The ids of the events that it has stored."""
        raise NotImplementedError

    @contextmanager
    def running(self, secret):
        self.secret = self.environment["WEBHOOK_SECRET"] = secret
        self.prepare()
        options = {"cwd": self.folder, "env": self.environment}
        with (
            (self.folder / "log.txt").open("w") as log,
            subprocess.Popen(self.command, stdout=log, stderr=log, **options) as process,
        ):
            try:
                until(lambda: self.listens() or process.poll() is not None)
                assert process.poll() is None, self.log()
                yield self
            finally:
                process.kill()

    def listens(self):
        with suppress(OSError), socket.create_connection(("localhost", self.port)):
            return True

    def log(self):
        return (self.folder / "log.txt").read_text()

    def post(self, headers, body):
        """The status of the answer."""
        return requests.post(self.url, data=body, headers=headers, timeout=15).status_code


class Flask(Receiver):
    def prepare(self):
        (self.folder / "receiver.py").write_text(block_with(PAGE, "Flask(__name__)"))

    @property
    def command(self):
        return [stacks.BIN / "flask", "--app", "receiver", "run", "--port", str(self.port)]

    def stored(self):
        return [event_id for event_id, _ in self.rows()]

    def bodies(self):
        """Of the events that it has stored, by their ids."""
        return {event_id: json.loads(body) for event_id, body in self.rows()}

    def rows(self):
        return rows_of(self.folder / "events.sqlite3", "event")


class Django(Receiver):
    prints = False

    def prepare(self):
        self.environment.update(DJANGO_SETTINGS_MODULE="settings", PYTHONPATH=str(self.folder))
        app = self.folder / "hooks"
        app.mkdir()
        (self.folder / "settings.py").write_text(SETTINGS)
        (self.folder / "urls.py").write_text(URLS)
        (app / "models.py").write_text(block_with(PAGE, "models.Model"))
        (app / "views.py").write_text(block_with(PAGE, "@csrf_exempt"))
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb"]
        subprocess.run(migrate, cwd=self.folder, env=self.environment, check=True, capture_output=True)

    @property
    def command(self):
        return [sys.executable, "-m", "django", "runserver", "--noreload", str(self.port)]

    def stored(self):
        return [event_id for event_id, _ in rows_of(self.folder / "events.sqlite3", "hooks_event")]


class Node(Receiver):
    def prepare(self):
        code = block_with(PAGE, "createServer(")
        assert code.count("listen(5000)") == 1
        (self.folder / "receiver.mjs").write_text(code.replace("listen(5000)", f"listen({self.port})"))

    @property
    def command(self):
        return [services.node(), "receiver.mjs"]

    def stored(self):
        return [file.stem for file in (self.folder / "events").glob("*.json")]


RECEIVERS = [Flask, Django, pytest.param(Node, marks=pytest.mark.node)]


def rows_of(file, table):
    """Empty until the receiver has made the table."""
    with closing(sqlite3.connect(file)) as database:
        is_there = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone()
        return database.execute(f"SELECT id, body FROM {table}").fetchall() if is_there else []


def new_secret():
    """As Standard Webhooks spells secrets."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


def rows_below(title):
    """The cells of the page's tables below this heading, up to the next one; without their heads."""
    text = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in tables
    ]


@pytest.fixture(params=RECEIVERS, ids=lambda kind: kind.__name__, scope="module")
def receiver(request, tmp_path_factory):
    """Each of the receivers in turn, shared by the tests of a module."""
    with request.param(tmp_path_factory.mktemp("receiver")).running(new_secret()) as receiver:
        yield receiver
