"""The checks of `doctor`, one by one. tests/commands/test_doctor.py runs it on broken systems."""

import errno
import os
import re
import shutil
import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from detections.inference import load_detector
from detections.operations import known_pictures
from notifications.models import WebhookDelivery, WebhookEndpoint
from objectvision.doctor import background, configuration, files, findings, machine, services
from objectvision.doctor.detector import check_detector
from objectvision.doctor.findings import Check, error, ok, warning
from testing import services as test_services
from testing.detectors import COCO, build_standin, family_of
from testing.peers import brevo as brevo_server


def examined(*checks):
    return dict(findings.examine(checks))


def fails():
    raise ValueError("first line\nsecond line")


def test_a_check_that_hangs_or_fails_leaves_the_others_alone():
    back = threading.Event()
    hanging = Check("hanging", lambda: back.wait(30), "Wake it.", seconds=0.1)
    found = examined(
        hanging, Check("failing", fails, "Mend it."), Check("fine", lambda: ok("here"), "Unused.")
    )
    back.set()
    assert found == {
        "hanging": error("It did not answer within 0 s.", "Wake it."),
        "failing": error("ValueError: first line", "Mend it."),
        "fine": ok("here"),
    }


def test_a_timeout_that_a_check_raises_is_told_as_its_own():
    def times_out():
        raise TimeoutError("no packet came back")

    assert examined(Check("host", times_out, "Ping it."))["host"].found == "TimeoutError: no packet came back"


def test_what_rests_on_an_error_is_left_out_and_what_rests_on_a_warning_is_not():
    found = examined(
        Check("base", lambda: error("away"), ""),
        Check("shaky", lambda: warning("slow"), ""),
        Check("upon base", fails, "", needs=("shaky", "base")),
        Check("upon shaky", lambda: ok("here"), "", needs=("shaky",)),
    )
    assert found["upon base"] == warning("not checked", "Mend this first: base.")
    assert found["upon shaky"] == ok("here")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("redis://ada:pass@host:6379/0 is away", "redis://***@host:6379/0 is away"),
        ("rediss://:p@ss@host/0", "rediss://***@host/0"),
        ("unix:///run/redis?db=0&password=pass&x=1", "unix:///run/redis?db=0&password=***&x=1"),
        ("the key is xkeysib-secret.", "the key is ***."),
        ("user postgres of postgres", "user postgres of postgres"),
    ],
)
def test_secrets_are_not_shown(settings, monkeypatch, said, shown):
    settings.BREVO_API_KEY = "xkeysib-secret"
    for name in ("USER", "PASSWORD"):
        monkeypatch.setitem(settings.DATABASES["default"], name, "postgres")
    (finding,) = examined(Check("part", lambda: error(said, said), "")).values()
    assert (finding.found, finding.hint) == (shown, shown)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('failed: FATAL:  password authentication failed for user "database"', "Set DB_PASSWORD"),
        ('failed: FATAL:  database "password" does not exist', "Create it (createdb)"),
        ('failed: FATAL:  role "ada" does not exist', "Create it (createuser)"),
        ("failed: FATAL:  the database system is starting up", "Start PostgreSQL"),
        ("failed: FATAL:  sorry, too many clients already", "Raise PostgreSQL's max_connections"),
        ("PostgreSQL 14 or later is required (found 13.9).", "Upgrade PostgreSQL"),
        ("failed: fe_sendauth: no password supplied", "Set DB_PASSWORD"),
        ('failed: FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "Let PostgreSQL's pg_hba.conf"),
        ('host "password", port 5432 failed: Connection refused', "Start PostgreSQL"),
    ],
)
def test_the_hint_follows_what_the_database_says(said, hint):
    assert services.database_hint(said).startswith(hint)


@pytest.mark.parametrize(
    ("skew", "status", "found"),
    [
        (1.9, "ok", "within 2 s of this machine's"),
        (2.6, "warning", "3 s ahead of this machine's"),
        (-4.4, "warning", "4 s behind this machine's"),
        (-6, "error", "6 s behind this machine's"),
    ],
)
def test_clocks_may_differ_by_2_seconds(skew, status, found):
    finding = services.compare_clock(lambda: time.time() + skew)
    assert (finding.status, finding.found) == (status, found)


@pytest.mark.services
def test_a_redis_of_the_same_machine_has_its_time(settings, redis_url):
    settings.REDIS_URL = redis_url
    assert services.check_clock_of_redis().status == "ok"


@pytest.fixture
def endpoint(user):
    return WebhookEndpoint.objects.create(
        user=user, url="https://example.com/", secret="sealed", events=["*"]
    )


def late_delivery(endpoint, minutes):
    due = timezone.now() - timedelta(minutes=minutes)
    return WebhookDelivery.objects.create(endpoint=endpoint, event=uuid7(), type="ping", next_at=due)


def test_webhooks_that_work_are_counted(endpoint):
    late_delivery(endpoint, minutes=9)
    late_delivery(endpoint, minutes=-60)
    assert background.check_webhooks() == ok("1 active, none failing")


def test_failing_disabled_and_late_webhooks_are_counted(user, endpoint):
    late_delivery(endpoint, minutes=11)
    gone = {"is_active": False, "disabled_reason": "It answered 410 Gone.", "secret": "sealed"}
    WebhookEndpoint.objects.create(user=user, url="https://one.example.com/", **gone)
    removed = WebhookEndpoint.objects.create(user=user, url="https://two.example.com/", **gone)
    WebhookEndpoint.objects.filter(pk=removed.pk).remove()
    own = WebhookEndpoint.objects.create(user=user, url="https://three.example.com/", is_active=False)
    late_delivery(own, minutes=60)  # its owner has switched it off
    assert background.check_webhooks() == warning(
        "1 of 3 are disabled; 1 deliveries are over 10 minutes late"
    )
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failing_since=timezone.now())
    assert background.check_webhooks().found.startswith("1 of 3 are failing; 1 of 3 are disabled; ")


def test_a_folder_of_another_user_is_named_with_the_user_who_needs_it():
    hint = files.storage_hint(PermissionError(errno.EACCES, "Permission denied"), "/data/media")
    assert hint.startswith(f"Let user id {os.geteuid()} write to /data/media")


GB = 10**9


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [(0.9, 5, "error"), (4.9, 10, "warning"), (50, 1000, "warning"), (5, 50, "ok"), (0.999, 1000, "error")],
)
def test_space_is_judged_in_gigabytes_and_as_a_share(monkeypatch, tmp_path, free, total, status):
    usage = shutil._ntuple_diskusage(total * GB, (total - free) * GB, free * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert files.space_of(tmp_path).status == status


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """The process is in the group /system/worker."""
    own = tmp_path / "own"
    own.write_text("0::/system/worker\n")
    monkeypatch.setattr(machine, "OWN_GROUP", own)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    (tmp_path / "cgroup" / "system" / "worker").mkdir(parents=True)
    return tmp_path / "cgroup"


def test_the_lowest_limit_of_memory_counts(groups):
    assert machine.limit_of_cgroup() is None
    (groups / "system" / "worker" / "memory.max").write_text("max\n")
    assert machine.limit_of_cgroup() is None
    (groups / "system" / "memory.max").write_text("700000000\n")
    assert machine.check_memory().status == "warning"
    assert machine.check_memory().found.endswith("; the control group has 0.7 GB")
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("600000000\n")
    assert machine.limit_of_cgroup() == 600_000_000


def test_the_devices_of_openvino_are_listed():
    assert machine.check_devices().found.startswith("CPU: ")


def test_without_a_detector_the_hint_says_how_to_prepare_one(db):
    finding = check_detector()
    assert finding.found == "no detector is prepared"
    assert "manage.py setup" in finding.hint


def test_a_detector_of_other_classes_is_only_loaded(detector):
    finding = check_detector()
    assert finding.status == "ok"
    assert finding.found.endswith("no picture with objects of its classes is known")


def test_a_detector_that_finds_none_of_the_known_objects_is_an_error(detector, settings, tmp_path):
    settings.DETECTORS_DIR = tmp_path
    build_standin(tmp_path / detector.path, classes=("bus", "marker"))
    finding = check_detector()
    assert finding.status == "error"
    assert re.search(r"; finds 0 of \d known objects$", finding.found)
    assert f"Remove {tmp_path / detector.path}" in finding.hint


@pytest.mark.skipif(not COCO, reason="COCO_DETECTORS names none")
@pytest.mark.parametrize("folder", COCO, ids=family_of)
def test_detectors_of_everyday_objects_find_those_of_the_street_scene(folder):
    assert known_pictures.score(load_detector(folder, "openvino")) == known_pictures.Score(4, 4)


def test_a_folder_without_weights_is_named(detector, settings, tmp_path):
    settings.DETECTORS_DIR = tmp_path
    (tmp_path / detector.path).mkdir()
    assert f"{tmp_path / detector.path}: it holds no .xml, .onnx, .pt file." in check_detector().found


def test_the_settings_of_development_are_fine_and_equal_secrets_are_not(settings):
    assert configuration.check_settings() == ok("development; secrets and addresses are set")
    settings.JWT_SECRET_KEY = settings.SECRET_KEY
    finding = configuration.check_settings()
    assert (finding.status, "objectvision.E001" in finding.found) == ("error", True)
    assert finding.hint == "Give each its own, so that rotating one leaves the other."


def test_checks_of_a_deployment_are_warnings_and_leave_mail_to_its_own_check(settings):
    settings.DEPLOYED = True
    finding = configuration.check_settings()
    assert finding.status == "warning"
    assert "objectvision.W001" in finding.found
    assert "BREVO_API_KEY" not in finding.found


@pytest.fixture
def key(settings, brevo):
    settings.BREVO_API_KEY = brevo_server.KEY
    settings.EMAIL_SENDER = "us@example.com"


def test_mail_is_sent_only_if_an_address_is_given(key, brevo):
    assert configuration.check_mail(None)() == ok("Brevo, from us@example.com")
    assert brevo.asked == []
    sent = configuration.check_mail("ada@example.com")()
    assert sent == ok("Brevo has taken a mail from us@example.com to ada@example.com")
    assert len(brevo.mails("ada@example.com")) == 1


def test_a_mail_that_brevo_refuses_is_an_error_in_its_words(key, brevo, settings):
    settings.ANYMAIL = {**settings.ANYMAIL, "BREVO_API_KEY": "another"}
    finding = configuration.check_mail("ada@example.com")()
    assert finding.found == "Brevo refuses it: 401 unauthorized Key not found"
    assert finding.hint.startswith("Check BREVO_API_KEY")


def test_a_brevo_that_does_not_answer_is_an_error(key, settings):
    url = f"http://127.0.0.1:{test_services.free_port()}/v3"
    settings.ANYMAIL = {**settings.ANYMAIL, "BREVO_API_URL": url}
    finding = configuration.check_mail("ada@example.com")()
    assert finding.found == f"{url} does not answer"


@pytest.mark.parametrize(("deployed", "status"), [(True, "warning"), (False, "ok")])
def test_mail_without_a_key_is_a_warning_in_a_deployment(settings, deployed, status):
    settings.DEPLOYED = deployed
    assert configuration.check_mail(None)().status == status
    assert configuration.check_mail("ada@example.com")().status == "warning"  # it was not sent
