"""`doctor` on broken systems of real processes: each finding names the fault and the remedy."""

import json
import os
import resource
import shutil
import subprocess
import time

import psycopg
import pytest

from testing import hosts, services, stacks
from testing.outages import Gate, mounted
from testing.waiting import until

PASSWORD = "a-password-that-must-not-be-shown"
BEATS = "objectvision:heartbeats"


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Beat and the worker of the default queue run, and no other process. The detector is the bundled one."""
    with stacks.production(tmp_path_factory.mktemp("doctor"), "bundled") as stack:
        stack.background()
        until(lambda: heartbeats(stack) >= {"beat", "default@test"}, 20)
        yield stack


def heartbeats(stack):
    """The names of those that have written one."""
    return {name.partition("#")[0] for name in stack.redis_cli("HKEYS", BEATS).stdout.decode().split()}


def doctor(stack, *begin, limit=None, **environment):
    """The exit status, and the findings by name."""
    environment = stack.environment | environment
    command = [*begin, *stacks.command("doctor", "--json")]
    done = subprocess.run(
        command, cwd=stacks.ROOT, env=environment, capture_output=True, text=True, preexec_fn=limit
    )
    assert done.stdout, done.stderr
    secrets = (environment.get("SECRET_KEY"), environment.get("JWT_SECRET_KEY"), PASSWORD)
    assert [secret for secret in secrets if secret and secret in done.stdout + done.stderr] == []
    return done.returncode, {check.pop("name"): check for check in json.loads(done.stdout)["checks"]}


def names(findings, status):
    return {name for name, finding in findings.items() if finding["status"] == status}


IDLE = {"worker of inference", "worker of webhooks"}  # nothing serves these in `system`


def found(findings, name):
    """What an error is, and what to do about it."""
    assert findings[name]["status"] == "error", findings[name]
    return findings[name]["found"], findings[name]["hint"]


@pytest.mark.services
def test_missing_workers_mail_key_and_file_limit_are_named_beside_what_works(system):
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    status, findings = doctor(system, limit=few_files)
    assert (status, names(findings, "error")) == (1, IDLE)
    fault, remedy = found(findings, "worker of inference")
    assert fault == "no worker of this queue is alive"
    assert "celery -A objectvision worker -Q inference -c 1" in remedy
    assert findings["worker of default"]["found"] == "default@test"
    assert findings["beat"]["found"] == "alive"
    assert findings["detector"]["found"].endswith("finds 6 of 6 known objects")
    assert findings["mail"]["hint"] == "Set BREVO_API_KEY and EMAIL_SENDER."
    assert (findings["open files"]["status"], findings["open files"]["found"]) == (
        "warning",
        "256, at most 256",
    )
    assert "ulimit -n" in findings["open files"]["hint"]
    assert "SECURE_SSL_REDIRECT=true" in findings["settings"]["hint"]


@pytest.mark.services
def test_a_redis_that_is_away_is_named_without_its_password(system):
    port = services.free_port()
    _, findings = doctor(system, REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    fault, remedy = found(findings, "Redis")
    assert fault.startswith(f"redis://***@127.0.0.1:{port}/0: ")
    assert "Connection refused" in fault
    assert "REDIS_URL" in remedy
    assert names(findings, "error") == {"Redis"}
    assert findings["broker"] == {
        "status": "warning",
        "found": "not checked",
        "hint": "Mend this first: Redis.",
    }


@pytest.mark.services
def test_a_redis_that_refuses_writes_is_named(system):
    system.redis_cli("CONFIG", "SET", "maxmemory", "1")
    try:
        _, findings = doctor(system)
    finally:
        system.redis_cli("CONFIG", "SET", "maxmemory", "0")
    fault, remedy = found(findings, "Redis")
    assert "used memory > 'maxmemory'" in fault
    assert "maxmemory" in remedy


@pytest.mark.services
def test_a_migration_that_is_not_applied_is_named(system):
    row = "app = 'notifications' AND name = '0003_webhooks'"
    system.connection.execute(f"UPDATE django_migrations SET app = 'away' WHERE {row}")
    try:
        _, findings = doctor(system)
    finally:
        system.connection.execute("UPDATE django_migrations SET app = 'notifications' WHERE app = 'away'")
    fault, remedy = found(findings, "migrations")
    assert fault.endswith("not applied: notifications.0003_webhooks")
    assert "manage.py setup" in remedy
    assert findings["webhooks"]["hint"] == "Mend this first: migrations."


@pytest.mark.services
def test_a_beat_that_is_gone_is_named(system):
    system.kill("beat")
    system.redis_cli("HDEL", BEATS, "beat")  # instead of 30 s
    try:
        _, findings = doctor(system)
    finally:
        system.start_beat()
        until(lambda: "beat" in heartbeats(system), 20)
    fault, remedy = found(findings, "beat")
    assert "has sent no sweep" in fault
    assert "celery -A objectvision beat" in remedy


@pytest.mark.services
def test_a_full_disk_and_a_storage_that_cannot_be_written_are_named(system, tmp_path):
    shutil.copytree(system.folder / "data", tmp_path / "data")
    with mounted(tmp_path / "data" / "media", "size=64k") as media:
        (media / "full").write_bytes(bytes(64 << 10))
        _, findings = doctor(system, DATA_DIR=str(tmp_path / "data"))
        fault, remedy = found(findings, "storage")
        assert "No space left on device" in fault
        assert remedy.startswith(f"Free space on the file system of {media}")
        assert str(media) in found(findings, "disk")[0]
    with mounted(tmp_path / "data" / "media", "ro") as media:
        fault, remedy = found(doctor(system, DATA_DIR=str(tmp_path / "data"))[1], "storage")
    assert "Read-only file system" in fault
    assert remedy.startswith(f"Mount the file system of {media} for writing")


@pytest.mark.services
def test_a_missing_file_of_the_detector_is_named_and_the_remedy_mends_it(system, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(system.folder / "data", data)
    (weights,) = data.glob("detectors/*/*/codes.bin")
    weights.unlink()
    fault, remedy = found(doctor(system, DATA_DIR=str(data))[1], "detector")
    assert fault.endswith(f"{weights} is missing.")
    folder = weights.parents[1]
    assert remedy.startswith(f"Remove {folder} if it is there, then run manage.py prepare_detector bundled")
    shutil.rmtree(folder)
    subprocess.run(
        stacks.command("prepare_detector", "bundled", "--default"),
        env=system.environment | {"DATA_DIR": str(data)},
        check=True,
        capture_output=True,
    )
    assert doctor(system, DATA_DIR=str(data))[1]["detector"]["status"] == "ok"


@pytest.mark.services
def test_a_wrong_password_of_the_database_is_named_and_not_shown(system):
    access = "host all postgres 127.0.0.1/32 trust\nhost all web 127.0.0.1/32 scram-sha-256\n"
    with hosts.postgresql("127.0.0.1", access) as server:
        with psycopg.connect(**server, autocommit=True) as connection:
            connection.execute("CREATE ROLE web LOGIN PASSWORD 'another-one'")
        _, findings = doctor(
            system, DB_HOST="127.0.0.1", DB_PORT=str(server["port"]), DB_USER="web", DB_PASSWORD=PASSWORD
        )
    fault, remedy = found(findings, "database")
    assert 'password authentication failed for user "web"' in fault
    assert remedy == "Set DB_PASSWORD, or the password in DATABASE_URL."
    assert findings["storage"]["status"] == "ok"


@pytest.mark.services
def test_a_database_that_hangs_is_given_up_and_the_rest_is_checked(system):
    with Gate(system.connection.info) as gate:
        gate.shut()
        started = time.monotonic()
        _, findings = doctor(system, DB_HOST="127.0.0.1", DB_PORT=str(gate.port))
    assert found(findings, "database")[1].startswith("Start PostgreSQL, or set DB_HOST")
    assert names(findings, "error") == {"database", *IDLE}
    assert time.monotonic() - started < 30


@pytest.mark.services
@pytest.mark.skipif(shutil.which("faketime") is None, reason="no faketime")
def test_a_wrong_clock_is_named(system):
    _, findings = doctor(system, "faketime", "-f", "+20s")
    for name in ("database clock", "Redis clock"):
        fault, remedy = found(findings, name)
        assert fault == "20 s behind this machine's"
        assert remedy.startswith("Synchronise the clocks")


def test_warnings_alone_exit_with_0_and_serve_is_seen_once_it_works(tmp_path):
    with stacks.embedded(tmp_path, "bundled") as stack:
        status, findings = doctor(stack)
        assert (status, names(findings, "error")) == (0, set())
        assert findings["beat"]["status"] == "warning"
        assert findings["beat"]["hint"] == "Start it: manage.py serve."
        assert findings["Redis"]["found"] == "not used: everything runs in one process"
        stack.serve()
        assert doctor(stack)[1]["beat"]["status"] == "ok"


def test_a_terminal_gets_a_table_and_a_file_gets_lines(tmp_path):
    with stacks.embedded(tmp_path, "bundled") as stack:
        done = stack.attempt("doctor")
        ours, theirs = os.openpty()
        environment = {**stack.environment, "TERM": "xterm", "COLUMNS": "100"}
        with subprocess.Popen(stacks.command("doctor"), env=environment, stdout=theirs, stderr=theirs):
            os.close(theirs)
            shown = read_all(ours)
    assert (
        "\nwarning  beat: manage.py serve has not worked yet -> Start it: manage.py serve.\n" in done.stdout
    )
    assert "ok       database: SQLite, " in done.stdout
    assert done.stderr.startswith("Checks: 19, errors: 0, ")
    assert "what to do" in shown
    assert "│ Start it: manage.py serve." in shown


def read_all(terminal):
    read = b""
    try:
        while part := os.read(terminal, 65536):
            read += part
    except OSError:  # its last process has ended
        os.close(terminal)
    return read.decode()
