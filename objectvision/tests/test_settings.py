import fcntl
import re
import runpy
import secrets
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from objectvision.lib import env

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()
PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "s" * 32,
    "JWT_SECRET_KEY": "j" * 32,
    "ALLOWED_HOSTS": "api.example.com",
    "DB_HOST": "db",
    "REDIS_HOST": "redis",
}


def documented():
    return dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def test_env_example_lists_exactly_the_variables_that_the_settings_read():
    listed = re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)
    assert sorted(listed) == sorted(env.names)


def test_env_example_shows_the_default_of_every_variable(read_settings, tmp_path):
    own = {"SECRET_KEY": "", "JWT_SECRET_KEY": "", "DATA_DIR": str(tmp_path)}
    as_example, without = read_settings(**documented() | own), read_settings()
    names = [name for name in without if name.isupper()]
    assert len(names) > 50
    assert {name: as_example[name] for name in names} == {name: without[name] for name in names}


def test_the_secrets_of_env_example_are_known_as_examples(read_settings):
    assert {documented()["SECRET_KEY"], documented()["JWT_SECRET_KEY"]} == read_settings()["EXAMPLE_SECRETS"]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_deployment_with_everything_set_starts(read_settings, environment):
    settings = read_settings(**PRODUCTION | {"ENVIRONMENT": environment})
    assert settings["DEPLOYED"] is True
    assert settings["SECRET_KEY"] == "s" * 32
    assert settings["SIMPLE_JWT"]["SIGNING_KEY"] == "j" * 32
    assert settings["ALLOWED_HOSTS"] == ["api.example.com"]
    assert settings["DATABASES"]["default"]["HOST"] == "db"
    assert settings["CELERY_BROKER_URL"] == "redis://redis:6379/0"
    assert settings["CACHES"]["default"]["LOCATION"] == "redis://redis:6379/0"


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("SECRET_KEY", "SECRET_KEY"),
        ("JWT_SECRET_KEY", "JWT_SECRET_KEY"),
        ("ALLOWED_HOSTS", "ALLOWED_HOSTS"),
        ("DB_HOST", "DB_HOST or DATABASE_URL"),
        ("REDIS_HOST", "REDIS_HOST or REDIS_URL"),
    ],
)
def test_a_deployment_does_not_start_without_a_required_variable(read_settings, environment, variable, named):
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_settings(**PRODUCTION | {"ENVIRONMENT": environment, variable: ""})
    assert str(refusal.value) == f"{environment} does not start without {named}."


def test_a_refusal_names_all_missing_variables(read_settings):
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_settings(ENVIRONMENT="production")
    assert str(refusal.value) == (
        "production does not start without SECRET_KEY, JWT_SECRET_KEY, ALLOWED_HOSTS, "
        "DB_HOST or DATABASE_URL, REDIS_HOST or REDIS_URL."
    )


def test_processes_that_start_together_use_the_same_secrets(read_settings, tmp_path):
    """The first process has created the file but not written yet: the others wait for it."""
    file = tmp_path / ".jwt_secret_key"
    with file.open("w") as first, ThreadPoolExecutor(1) as other:
        fcntl.flock(first, fcntl.LOCK_EX)
        found = other.submit(read_settings)
        assert wait([found], timeout=1).not_done
        first.write("k" * 64)
        first.close()
        assert found.result()["JWT_SECRET_KEY"] == "k" * 64


def test_an_empty_secret_file_is_generated_again(read_settings, tmp_path):
    (tmp_path / ".jwt_secret_key").touch(0o600)
    generated = read_settings()["JWT_SECRET_KEY"]
    assert len(generated) >= 32
    assert read_settings()["JWT_SECRET_KEY"] == generated
    assert (tmp_path / ".jwt_secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("variable", ["SECRET_KEY", "JWT_SECRET_KEY"])
def test_a_deployment_refuses_short_and_example_secrets_without_repeating_them(read_settings, variable):
    for value in ("x" * 31, documented()[variable]):
        with pytest.raises(ImproperlyConfigured) as refusal:
            read_settings(**PRODUCTION | {variable: value})
        assert str(refusal.value) == f"{variable} must have at least 32 characters and not be the example's."


def test_an_unknown_environment_is_refused(read_settings):
    with pytest.raises(
        ImproperlyConfigured, match="ENVIRONMENT is 'prod'; it must be one of development, staging, "
    ):
        read_settings(ENVIRONMENT="prod")


def test_development_generates_secrets_once_in_files_only_the_owner_can_read(read_settings, tmp_path):
    first, second = read_settings(), read_settings()
    for name in ("SECRET_KEY", "JWT_SECRET_KEY"):
        assert len(first[name]) >= 32
        assert second[name] == first[name]
        file = tmp_path / f".{name.lower()}"
        assert file.read_text() == first[name]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first["SECRET_KEY"] != first["JWT_SECRET_KEY"]


def test_without_configuration_all_data_lies_in_the_data_folder(read_settings, tmp_path):
    settings = read_settings()
    assert settings["DATABASES"]["default"]["ENGINE"] == "django.db.backends.sqlite3"
    assert settings["DATABASES"]["default"]["NAME"] == tmp_path / "objectvision.sqlite3"
    assert settings["MEDIA_ROOT"] == tmp_path / "media"
    assert settings["DETECTORS_DIR"] == tmp_path / "detectors"
    assert settings["CELERY_BROKER_URL"] == "memory://localhost/"
    assert settings["CACHES"]["default"]["BACKEND"] == "django.core.cache.backends.locmem.LocMemCache"


def test_a_database_url_wins_over_the_parts_and_may_hold_any_password(read_settings):
    url = "postgresql://ada:$e%40cret%2F@db.example.com:6543/pictures?sslmode=require"
    database = read_settings(DATABASE_URL=url, DB_HOST="other", DB_PASSWORD="other")["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"]) == ("db.example.com", 6543)
    assert (database["NAME"], database["USER"]) == ("pictures", "ada")
    assert database["PASSWORD"] == "$e@cret/"
    assert database["OPTIONS"]["sslmode"] == "require"


def test_a_password_among_the_parts_may_begin_with_a_dollar_sign(read_settings):
    database = read_settings(DB_HOST="db", DB_PASSWORD="$PATH")["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("db", 5432, "$PATH")


@pytest.mark.parametrize("url", ["mysql://db/x", "db:5432", "postgres://ada:secret@db:port/x"])
def test_a_malformed_database_url_is_refused_by_name(read_settings, url):
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL "):
        read_settings(DATABASE_URL=url)


def test_a_redis_url_wins_over_the_parts(read_settings):
    settings = read_settings(REDIS_URL="rediss://:secret@cache:6380/3", REDIS_HOST="other")
    assert settings["REDIS_URL"] == settings["CELERY_BROKER_URL"] == "rediss://:secret@cache:6380/3"


def test_a_web_process_holds_at_most_as_many_connections_as_configured(read_settings):
    database = read_settings(DB_HOST="db", DB_POOL_SIZE="4")["DATABASES"]["default"]
    assert database["OPTIONS"]["pool"]["max_size"] == 4


@pytest.mark.postgresql
@pytest.mark.django_db
def test_postgresql_ends_transactions_that_idle_and_gives_up_clients_that_vanish():
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)
        cursor.execute("SHOW tcp_user_timeout")
        through_socket = connection.connection.info.hostaddr == ""
        assert cursor.fetchone() == ("0" if through_socket else "20000",)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_postgresql_compiles_no_statement():
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)


def test_a_database_url_may_have_options_of_its_own(read_settings):
    url = "postgresql://ada@db/pictures?options=-c%20work_mem%3D8MB&tcp_user_timeout=5000"
    options = read_settings(DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
    assert (options["options"], options["tcp_user_timeout"]) == ("-c work_mem=8MB", 5000)


def test_mails_go_through_brevo_with_its_key_and_are_printed_without(read_settings):
    assert read_settings()["EMAIL_BACKEND"] == "notifications.mail.console.EmailBackend"
    sending = read_settings(BREVO_API_KEY="k", EMAIL_SENDER="hello@acme.example", COMPANY_NAME="Acme, Inc.")
    assert sending["EMAIL_BACKEND"] == "anymail.backends.brevo.EmailBackend"
    assert sending["ANYMAIL"]["BREVO_API_KEY"] == "k"
    assert sending["DEFAULT_FROM_EMAIL"] == '"Acme, Inc." <hello@acme.example>'


@pytest.mark.parametrize(
    "url", ["https://mail.example/v3", "https://mail.example/v3/", "https://mail.example/v3/smtp/email"]
)
def test_brevo_api_url_may_be_the_endpoint_or_its_base(read_settings, url):
    assert read_settings(BREVO_API_URL=url)["ANYMAIL"]["BREVO_API_URL"] == "https://mail.example/v3"
    assert read_settings()["ANYMAIL"]["BREVO_API_URL"] == "https://api.brevo.com/v3"


def test_a_brevo_key_without_a_sender_is_refused_by_name(read_settings):
    with pytest.raises(ImproperlyConfigured, match=r"^BREVO_API_KEY needs EMAIL_SENDER"):
        read_settings(BREVO_API_KEY="k")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EMAIL_SENDER", "hello"),
        ("EMAIL_SENDER", "a@example.com, b@example.com"),
        ("EMAIL_SENDER_NAME", "Acme\r\nBcc: eve@example.com"),
        ("COMPANY_NAME", "Acme\nInc."),
        ("FRONTEND_BASE_URL", "app.example.com"),
        ("FRONTEND_SUCCESS_URL", "javascript:alert(1)"),
        ("BREVO_API_URL", "ftp://mail.example"),
        ("REQUIRE_VERIFIED_EMAIL", "perhaps"),
    ],
)
def test_mail_settings_that_would_break_mails_are_refused_by_name(read_settings, variable, value):
    with pytest.raises(ImproperlyConfigured, match=f"^{variable} is "):
        read_settings(**{variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOG_FORMAT", "xml"),
        ("LOG_FILE", "/no/such/folder/all.log"),
        ("LOG_FILE", "/"),
        ("LOG_FILE_MB", "0"),
        ("LOG_FILE_BACKUPS", "none"),
        ("SENTRY_DSN", "sentry.example.com"),
        ("METRICS_TOKEN", "short"),
        ("METRICS_TOKEN", "é" * 32),
        ("FLOWER_PASSWORD", "é" * 32),
    ],
)
def test_settings_of_operators_that_cannot_hold_are_refused_by_name(read_settings, variable, value):
    with pytest.raises(ImproperlyConfigured, match=f"^{variable} is "):
        read_settings(**{variable: value})


def test_workers_send_events_of_their_tasks_where_flower_may_run_only(read_settings):
    sent = "CELERY_WORKER_SEND_TASK_EVENTS"
    redis, password = {"REDIS_URL": "redis://localhost"}, {"FLOWER_PASSWORD": "correct horse"}
    assert not read_settings(**redis)[sent]
    assert not read_settings(**password)[sent]
    assert read_settings(**redis, **password)[sent]


def test_deployments_log_json_and_development_logs_lines(read_settings):
    assert read_settings()["LOG_FORMAT"] == "line"
    assert read_settings(**PRODUCTION)["LOG_FORMAT"] == "json"
    assert read_settings(**PRODUCTION | {"LOG_FORMAT": "line"})["LOG_FORMAT"] == "line"


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"API_BASE_URL": "https://vision.example"}, "https://vision.example"),
        ({}, "https://api.example.com"),
        ({"ALLOWED_HOSTS": "*,.example.com,www.example.com"}, "https://www.example.com"),
        ({"ALLOWED_HOSTS": "*", "API_BASE_URL": "https://vision.example"}, "https://vision.example"),
        ({"ENVIRONMENT": "development"}, "http://localhost:8000"),
    ],
)
def test_links_in_mails_use_the_configured_address(read_settings, changes, url):
    assert read_settings(**PRODUCTION | changes)["PUBLIC_URL"] == url


def test_a_deployment_without_an_address_for_links_does_not_start(read_settings):
    with pytest.raises(ImproperlyConfigured) as refusal:
        read_settings(**PRODUCTION | {"ALLOWED_HOSTS": "*,.example.com"})
    assert str(refusal.value) == (
        "production does not start without API_BASE_URL, as ALLOWED_HOSTS names no host."
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql://ada:secret@/pictures?host=/var/run/postgresql", "/var/run/postgresql"),
        ("postgresql://ada:secret@%2Fvar%2FRun%2Fpostgresql/pictures", "/var/Run/postgresql"),
    ],
)
def test_a_database_url_may_name_the_folder_of_a_unix_socket(read_settings, url, host):
    database = read_settings(DATABASE_URL=url)["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"] or database["OPTIONS"]["host"]) == host
    assert (database["NAME"], database["USER"], database["PASSWORD"]) == ("pictures", "ada", "secret")


def test_a_database_url_without_any_host_is_refused(read_settings):
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL .* and has a host\.$"):
        read_settings(DATABASE_URL="postgresql:///pictures")


def test_trusted_proxies_are_addresses_and_networks(read_settings):
    proxies = "127.0.0.1, 10.0.0.0/8,2001:db8::1,fd00::/8"
    expected = ["127.0.0.1", "10.0.0.0/8", "2001:db8::1", "fd00::/8"]
    assert read_settings(TRUSTED_PROXIES=proxies)["TRUSTED_PROXIES"] == expected


@pytest.mark.parametrize(
    "other", ["*", "proxy.internal", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1 10.0.0.1", "1"]
)
def test_a_trusted_proxy_that_is_no_address_or_network_is_refused(read_settings, other):
    with pytest.raises(
        ImproperlyConfigured, match=r"^TRUSTED_PROXIES is .*; it must be addresses or networks"
    ):
        read_settings(TRUSTED_PROXIES=f"127.0.0.1,{other}")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0),
        ({"SECURE_SSL_REDIRECT": "true"}, 31_536_000),
        ({"SECURE_SSL_REDIRECT": "true", "SECURE_HSTS_SECONDS": "60"}, 60),
        ({"SECURE_HSTS_SECONDS": "60"}, 60),
    ],
)
def test_hsts_lasts_a_year_if_http_is_redirected(read_settings, environment, seconds):
    settings = read_settings(**environment)
    assert settings["SECURE_HSTS_SECONDS"] == seconds
    assert settings["SECURE_HSTS_INCLUDE_SUBDOMAINS"] is False


@pytest.mark.slow
def test_the_documented_deployment_passes_the_deploy_checks_of_django(tmp_path):
    table = (ROOT / "docs" / "production.md").read_text().partition("Set these:\n\n")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall("`([A-Z_]+)`", row.split("|")[1])}
    deployment = {
        **{name: value for name, value in PRODUCTION.items() if not name.endswith("KEY")},
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "REDIS_URL": "redis://redis",
        "DB_NAME": "objectvision",
        "DB_USER": "objectvision",
        "DB_PASSWORD": "secret",
        "API_BASE_URL": "https://api.example.com",
        "BREVO_API_KEY": "key",
        "EMAIL_SENDER": "vision@example.com",
        "SECURE_SSL_REDIRECT": "true",
        "TRUSTED_PROXIES": "10.0.0.0/8",
    }
    del deployment["REDIS_HOST"]
    assert set(deployment) == named
    environment = {**dict.fromkeys(documented(), ""), "DATA_DIR": str(tmp_path), **deployment}
    command = [sys.executable, ROOT / "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no issues" in done.stdout


def deployed(settings):
    settings.DEPLOYED = True
    settings.API_BASE_URL = "https://api.example.com"
    settings.SECURE_SSL_REDIRECT = True
    settings.BREVO_API_KEY = "key"


def ours():
    return [(message.id, message.hint) for message in run_checks() if message.id.startswith("objectvision.")]


def test_our_checks_find_nothing_in_a_good_deployment(settings):
    deployed(settings)
    settings.METRICS_TOKEN, settings.METRICS_ALLOWED_NETWORKS = "x" * 32, ["10.0.0.0/8"]
    assert ours() == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"SECRET_KEY": "x" * 40, "JWT_SECRET_KEY": "x" * 40},
            ("objectvision.E001", "Give each its own, so that rotating one leaves the other."),
        ),
        (
            {"MAX_UPLOAD_MB": 20, "MAX_REQUEST_MB": 20},
            ("objectvision.E002", "Set MAX_REQUEST_MB above MAX_UPLOAD_MB."),
        ),
        (
            {"API_BASE_URL": ""},
            ("objectvision.W001", "Set it to the address that clients use."),
        ),
        (
            {"SECURE_SSL_REDIRECT": False},
            (
                "objectvision.W002",
                "Set SECURE_SSL_REDIRECT=true, or see that the proxy in front redirects to HTTPS.",
            ),
        ),
        (
            {"BREVO_API_KEY": ""},
            ("objectvision.W003", "Set BREVO_API_KEY and EMAIL_SENDER."),
        ),
        (
            {"METRICS_TOKEN": "x" * 31},
            ("objectvision.W004", "Set a longer one, or METRICS_ALLOWED_NETWORKS instead."),
        ),
        (
            {"METRICS_ALLOWED_NETWORKS": ["10.0.0.0/8", "127.0.0.0/8"]},
            (
                "objectvision.W005",
                "Set TRUSTED_PROXIES to the proxy's address, or METRICS_TOKEN instead.",
            ),
        ),
    ],
)
def test_our_checks_name_a_poor_setting_with_a_hint(settings, changes, found):
    deployed(settings)
    for name, value in changes.items():
        setattr(settings, name, value)
    assert ours() == [found]


def test_our_checks_find_nothing_in_development(settings):
    assert settings.DEPLOYED is False
    assert ours() == []


def test_env_files_are_read_by_environment_and_the_more_specific_one_wins(monkeypatch, tmp_path):
    for name in documented():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JWT_ALGORITHM", "HS512")
    home = tmp_path / "objectvision"
    home.mkdir()
    shutil.copy("objectvision/settings.py", home)
    (tmp_path / ".env").write_text("ENVIRONMENT=staging\nALLOWED_HOSTS=everyone.example\nLOG_LEVEL=ERROR\n")
    (tmp_path / ".env.staging").write_text(
        "ALLOWED_HOSTS=staging.example\nJWT_ALGORITHM=HS256\nDB_HOST=db\nREDIS_HOST=redis\n"
        f"SECRET_KEY={'s' * 40}\nJWT_SECRET_KEY={'j' * 40}\n"
    )
    settings = runpy.run_path(str(home / "settings.py"))
    assert settings["ENVIRONMENT"] == "staging"
    assert settings["ALLOWED_HOSTS"] == ["staging.example"]
    assert settings["LOGGING"]["root"]["level"] == "ERROR"
    assert settings["SIMPLE_JWT"]["ALGORITHM"] == "HS512"


@pytest.mark.parametrize("name", ["JWT_PREVIOUS_SECRET_KEYS", "SECRET_KEY_FALLBACKS"])
def test_previous_keys_must_have_at_least_32_characters(read_settings, name):
    old = ["a" * 32, "b" * 40]
    assert read_settings(**{name: ", ".join(old)})[name] == old
    with pytest.raises(ImproperlyConfigured, match=f"{name} must be keys of at least 32 characters"):
        read_settings(**{name: f"{old[0]},{'c' * 31}"})
