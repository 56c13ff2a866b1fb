import os
import runpy
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import django
import pytest
from django.conf import settings

from objectvision.tests import services

# Before Django reads its settings: tests see nothing of the environment but the services in it.
POSTGRESQL = services.use_what_there_is()
DATA_DIR = Path(tempfile.mkdtemp(prefix="objectvision-tests-"))
EXAMPLE = (Path(__file__).parent / ".env.example").read_text().splitlines()
DOCUMENTED = [line.partition("=")[0] for line in EXAMPLE if line and not line.startswith("#")]
SERVICES = {"DB_HOST", "DB_PORT", "DB_USER", "DB_NAME", "DB_PASSWORD"}
CLEAN = {
    **{name: "" for name in DOCUMENTED if name not in SERVICES},  # set, so that no .env file gets in
    "DJANGO_SETTINGS_MODULE": "objectvision.settings",
    "ENVIRONMENT": "development",
    "DATA_DIR": str(DATA_DIR),
}
os.environ.update(CLEAN)
if POSTGRESQL:  # two runs at once do not take each other's database
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = f"test_objectvision_{os.getpid()}"
django.setup()  # pytest-django looks for settings before this file is read

FOUND = {
    "PostgreSQL": POSTGRESQL,
    "redis-server": services.redis_server(),
    "Chromium": services.chromium(),
}
# What a test with one of these markers needs.
NEEDS = {"postgresql": ["PostgreSQL"], "services": ["PostgreSQL", "redis-server"], "browser": ["Chromium"]}
MISSING = [name for name, found in FOUND.items() if not found]


def missing_for(item):
    needed = {name for marker, names in NEEDS.items() if item.get_closest_marker(marker) for name in names}
    return [name for name in MISSING if name in needed]


def pytest_collection_modifyitems(items):
    wanting = {item: missing for item in items if (missing := missing_for(item))}
    if wanting and os.environ.get("REQUIRE_SERVICES") == "1":
        raise pytest.UsageError(f"REQUIRE_SERVICES=1, and there is no {' and no '.join(MISSING)}.")
    for item, missing in wanting.items():
        item.add_marker(pytest.mark.skip(reason=f"no {' and no '.join(missing)}"))


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(
            f"Skipped what needs {' and '.join(MISSING)}: install what is missing, start PostgreSQL on "
            "localhost or name it by DB_HOST, DB_PORT, DB_USER and DB_PASSWORD, and run this again."
        )


def pytest_sessionfinish():
    shutil.rmtree(DATA_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    """Files of one test stay with it."""
    from django.core.files.storage import storages

    root = tmp_path / "media"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**storages.backends["default"], "OPTIONS": {"location": root}},
    }
    return root


@pytest.fixture(autouse=True)
def _nobody_counted_yet():
    """What one test does counts against no other's limits."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(scope="session")
def password_hash():
    """Of "a-long-passphrase". Argon2 takes its time, once for all tests."""
    from django.contrib.auth.hashers import make_password

    return make_password("a-long-passphrase")


@pytest.fixture
def user(db, password_hash):
    from accounts.models import User

    return User.objects.create(email="ada@example.com", password=password_hash, name="Ada")


@pytest.fixture
def stranger(db):
    from accounts.models import User

    return User.objects.create(email="eve@example.com")


@pytest.fixture
def api():
    """A client of the API, with a session of the user's where one is given: `api(user).get(…)`."""
    from rest_framework.test import APIClient

    from accounts.tokens import open_session

    def client(user=None):
        bearer = {"HTTP_AUTHORIZATION": f"Bearer {open_session(user, 'pytest').access_token}"} if user else {}
        return APIClient(**bearer)

    return client


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """A Redis of the tests' own."""
    import redis

    from objectvision.tests.stack import until

    port = services.free_port()
    folder = tmp_path_factory.mktemp("redis")
    command = [services.redis_server(), "--port", str(port), "--save", "", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        url = f"redis://127.0.0.1:{port}/0"

        def answers():
            try:
                with redis.Redis.from_url(url) as client:
                    return client.ping()
            except redis.ConnectionError:
                return False

        until(answers)
        yield url
        server.terminate()


@pytest.fixture
def read_settings(monkeypatch, tmp_path):
    """The settings as a process with this environment, and nothing else, has them."""

    def read(**environment):
        with monkeypatch.context() as patch:
            for name in DOCUMENTED:
                patch.setenv(name, "")
            patch.setenv("DATA_DIR", str(tmp_path))
            for name, value in environment.items():
                patch.setenv(name, value)
            return runpy.run_path("objectvision/settings.py")

    return read


@pytest.fixture
def closed_redis():
    """An address where no Redis listens."""
    return f"redis://127.0.0.1:{services.free_port()}/0"


@pytest.fixture
def at_once(transactional_db):
    """Runs functions at the same time, each on a connection of its own: `at_once(f, g)`. What they return."""
    from django.db import connection

    def run(*functions):
        start = threading.Barrier(len(functions))

        def call(function):
            try:
                start.wait(10)
                return function()
            finally:
                connection.close()

        with ThreadPoolExecutor(len(functions)) as threads:
            return list(threads.map(call, functions))

    return run


@pytest.fixture
def stopping():
    """The flags by which a process is told to stop, lowered again after the test."""
    from detections import processing
    from notifications import news

    flags = processing.stopping, news.stopping
    yield flags
    for flag in flags:
        flag.clear()


@pytest.fixture
def eager(monkeypatch):
    """A task runs where it is sent, as if a worker had been waiting for it."""
    from objectvision.celery import app

    monkeypatch.setitem(app.conf, "task_always_eager", True)  # noqa: FBT003  # a setting's value


@pytest.fixture
def brevo(settings):
    """Mails go to a server of the tests' own that speaks Brevo's API."""
    from notifications.tests import brevo

    with brevo.running() as server:
        settings.EMAIL_BACKEND = "anymail.backends.brevo.EmailBackend"
        settings.ANYMAIL = {
            "BREVO_API_KEY": brevo.KEY,
            "BREVO_API_URL": server.url,
            "REQUESTS_TIMEOUT": (1, 1),
        }
        yield server


@pytest.fixture
def submit(detector):
    """Uploads pictures past the API: `submit(user, photo(), photo(), confidence=0.5)`."""
    from django.core.files.base import ContentFile

    from detections import intake
    from detections.inference import Options
    from detections.validators import read_image

    def submit(user, *contents, **options):
        files = [ContentFile(content, f"photo-{number}.jpg") for number, content in enumerate(contents, 1)]
        uploads = [intake.Upload(file, read_image(file)) for file in files]
        return intake.submit(user, uploads, detector, asdict(Options(**options)))

    return submit


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory):
    from detections.tests import standin

    return standin.build(tmp_path_factory.mktemp("standin"))


@pytest.fixture
def detector(db, settings, standin_folder):
    """A detector on a real runtime whose results are known beforehand."""
    from detections.models import Detector

    settings.DETECTORS_DIR = standin_folder.parent
    return Detector.objects.create(
        name="standin",
        version="1",
        sha256="0" * 64,
        path=standin_folder.name,
        backend="openvino",
        image_size=64,
        classes=["alpha", "beta"],
        is_default=True,
    )
