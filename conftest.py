import gc
import importlib.util
import os
import runpy
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from testing import services, shared, stacks
from testing.services import DOCUMENTED

# Before Django reads its settings: tests see nothing of the environment but the services in it.
POSTGRESQL = services.use_postgresql_if_found()
DATA_DIR = shared.FOLDER / "data"  # of all processes: those of a parallel run have read their settings by now
DATA_DIR.mkdir(exist_ok=True)
SERVICES = {"DB_HOST", "DB_PORT", "DB_USER", "DB_NAME", "DB_PASSWORD"}
CLEAN = {
    **{name: "" for name in DOCUMENTED if name not in SERVICES},  # set, so that no .env file gets in
    "DJANGO_SETTINGS_MODULE": "objectvision.settings",
    "ENVIRONMENT": "development",
    "DATA_DIR": str(DATA_DIR),
}
os.environ.update(CLEAN)
# Processes do not share a database. SQLite's is a file: one in memory has other locks, and no end.
TEST_DATABASE = f"test_objectvision_{os.getpid()}"
if not POSTGRESQL:
    TEST_DATABASE = str(DATA_DIR / f"{TEST_DATABASE}.sqlite3")
settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = TEST_DATABASE
# Each client of a test has a middleware of its own: listing the static files takes it longer than a request.
settings.WHITENOISE_AUTOREFRESH = True
django.setup()  # pytest-django looks for settings before this file is read
gc.disable()  # until thousands of tests are collected, which takes a third less time

# Argon2 is slow by design: tests hash hundreds of passwords with less memory and fewer rounds.
FULL_ARGON2 = {
    name: getattr(Argon2PasswordHasher, name) for name in ("time_cost", "memory_cost", "parallelism")
}
Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost, Argon2PasswordHasher.parallelism = 1, 8, 1

FOUND = {
    "PostgreSQL": POSTGRESQL,
    "redis-server": services.redis_server(),
    "Chromium": services.chromium(),
    "Node": services.node(),
    "Prometheus": services.prometheus(),
    "ultralytics": importlib.util.find_spec("ultralytics"),
}
# By marker: the programs without which a test is skipped.
NEEDS = {
    "postgresql": ["PostgreSQL"],
    "services": ["PostgreSQL", "redis-server"],
    "browser": ["Chromium"],
    "node": ["Node"],
    "prometheus": ["Prometheus"],
    "torch": ["ultralytics"],
}
MISSING = [name for name, found in FOUND.items() if not found]
CHOSEN = {"PostgreSQL"} if services.sqlite_is_chosen() else set()  # missing, and meant to be
TESTS = Path(__file__).parent / "tests"  # of processes
DATABASE_FIXTURES = {"db", "transactional_db"}


def takes_long(item):
    return TESTS in item.path.parents or item.get_closest_marker("torch")


class LongFilesFirst:
    """Processes of a parallel run take file by file: a long one at the end would let the others idle."""

    @pytest.hookimpl(trylast=True)  # after pytest-randomly
    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: (not item.get_closest_marker("longest"), not takes_long(item)))


def pytest_configure(config):
    config.pluginmanager.register(LongFilesFirst())


def missing_for(item):
    needed = {name for marker, names in NEEDS.items() if item.get_closest_marker(marker) for name in names}
    return [name for name in MISSING if name in needed]


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by these markers
def pytest_collection_modifyitems(items):
    for item in items:
        if DATABASE_FIXTURES & set(item.fixturenames) or item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.database)
        if "ultralytics_settings" in item.fixturenames:
            item.add_marker(pytest.mark.torch)


@pytest.hookimpl(trylast=True)  # only the chosen ones must have what they need
def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()
    wanting = {item: missing for item in session.items if (missing := missing_for(item))}
    unmet = sorted({name for missing in wanting.values() for name in missing} - CHOSEN)
    if unmet and os.environ.get("REQUIRE_SERVICES") == "1":
        raise pytest.UsageError(f"REQUIRE_SERVICES=1, and there is no {' and no '.join(unmet)}.")
    for item, missing in wanting.items():
        item.add_marker(pytest.mark.skip(reason=f"no {' and no '.join(missing)}"))


def pytest_terminal_summary(terminalreporter):
    if CHOSEN:
        terminalreporter.write_line("Skipped what needs PostgreSQL: DATABASE=sqlite.")
    if missing := [name for name in MISSING if name not in CHOSEN]:
        terminalreporter.write_line(
            f"Skipped what needs {' and '.join(missing)}: install what is missing, start PostgreSQL on "
            "localhost or name it by DB_HOST, DB_PORT, DB_USER and DB_PASSWORD, and run this again."
        )


def pytest_sessionfinish():
    if POSTGRESQL:
        stacks.drop_prepared()
    shared.remove()


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    """A media folder for each test."""
    from django.core.files.storage import storages

    root = tmp_path / "media"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**storages.backends["default"], "OPTIONS": {"location": root}},
    }
    return root


@pytest.fixture
def nothing_stored(media):
    """Asserts after the test that no upload left a row or a file."""
    from detections.models import Detection, DetectionImage

    yield
    assert not Detection.objects.exists()
    assert not DetectionImage.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


@pytest.fixture
def unthrottled(settings):
    settings.THROTTLES = dict.fromkeys(settings.THROTTLES)


@pytest.fixture(autouse=True)
def _cleared_cache():
    """Requests of one test do not count against the limits of the next."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def full_argon2(monkeypatch):
    """Passwords are hashed as slowly as outside the tests."""
    for name, value in FULL_ARGON2.items():
        monkeypatch.setattr(Argon2PasswordHasher, name, value)


@pytest.fixture(scope="session")
def password_hash():
    """The hash of "a-long-passphrase"."""
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


@pytest.fixture
def keyed(user):
    """A client with an API key of the user's: `keyed("read", "account")`."""
    from rest_framework.test import APIClient

    from accounts import keys

    def client(*scopes):
        return APIClient(HTTP_X_API_KEY=keys.issue(user, "Program", scopes, None)[1])

    return client


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """A Redis of the tests' own."""
    import redis

    from testing.waiting import until

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
    from detections.jobs import processing
    from objectvision.lib import wakeups

    flags = processing.stopping, wakeups.stopping
    yield flags
    for flag in flags:
        flag.clear()


@pytest.fixture
def eager(monkeypatch):
    """A task runs where it is sent, as if a worker had been waiting for it."""
    from objectvision.celery import app
    from objectvision.lib import doorbell

    app.loader.import_default_modules()  # tasks are registered by their import
    monkeypatch.setitem(app.conf, "task_always_eager", True)  # noqa: FBT003  # a setting's value
    monkeypatch.setattr(doorbell, "ring_doorbell", lambda task: app.tasks[task].delay())


@pytest.fixture
def rings(monkeypatch):
    """The names of the tasks for which the doorbell was rung. No message is sent."""
    from objectvision.lib import doorbell

    rung = []
    monkeypatch.setattr(doorbell, "ring_doorbell", rung.append)
    return rung


@pytest.fixture
def brevo(settings):
    """Mails go to a server of the tests' own that speaks Brevo's API."""
    from testing.peers import brevo

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

    from detections.inference import Options
    from detections.uploads import intake

    def submit(user, *contents, **options):
        files = [ContentFile(content, f"photo-{number}.jpg") for number, content in enumerate(contents, 1)]
        submission = intake.Submission(user, detector, Options(**options))
        return intake.submit_images(submission, files)

    return submit


@pytest.fixture(scope="session")
def ultralytics_settings(tmp_path_factory):
    """ultralytics reads where its settings lie once, when it is imported."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))


@pytest.fixture(scope="session")
def standin_folder():
    from testing.detectors import build_standin

    return shared.built_once("detectors", lambda folder: build_standin(folder / "standin")) / "standin"


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
