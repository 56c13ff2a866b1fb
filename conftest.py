import os
import shutil
import tempfile
from pathlib import Path

import pytest

from objectvision.tests import services

# Before Django reads its settings: tests see nothing of the developer's own environment but the services in it.
POSTGRESQL = services.use_what_there_is()
DATA_DIR = Path(tempfile.mkdtemp(prefix="objectvision-tests-"))
CLEAN = {
    "DJANGO_SETTINGS_MODULE": "objectvision.settings",
    "ENVIRONMENT": "development",
    "DATA_DIR": str(DATA_DIR),
    **dict.fromkeys(("DATABASE_URL", "REDIS_URL", "REDIS_HOST", "MODEL_PATH", "SECRET_KEY", "JWT_SECRET_KEY"), ""),
}
os.environ.update(CLEAN)

MISSING = [
    name for name, found in {"PostgreSQL": POSTGRESQL, "redis-server": services.redis_server()}.items() if not found
]


def pytest_collection_modifyitems(items):
    if not MISSING:
        return
    wanting = [item for item in items if item.get_closest_marker("services") or item.get_closest_marker("postgresql")]
    if wanting and os.environ.get("REQUIRE_SERVICES") == "1":
        raise pytest.UsageError(f"REQUIRE_SERVICES=1, and there is no {' and no '.join(MISSING)}.")
    for item in wanting:
        item.add_marker(pytest.mark.skip(reason=f"no {' and no '.join(MISSING)}"))


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(
            f"Skipped what needs {' and '.join(MISSING)}: install them, start PostgreSQL on localhost or name it by "
            "DB_HOST, DB_PORT, DB_USER and DB_PASSWORD, and run this again."
        )


def pytest_sessionfinish():
    shutil.rmtree(DATA_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    """Files of one test stay with it."""
    from django.core.files.storage import storages

    root = tmp_path / "media"
    settings.STORAGES = {**settings.STORAGES, "default": {**storages.backends["default"], "OPTIONS": {"location": root}}}
    return root


@pytest.fixture
def user(db):
    from accounts.models import User

    return User.objects.create_user("ada@example.com", "a-long-passphrase", name="Ada")


@pytest.fixture
def stranger(db):
    from accounts.models import User

    return User.objects.create_user("eve@example.com", "another-passphrase")


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
