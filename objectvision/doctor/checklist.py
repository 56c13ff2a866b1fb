"""All checks, in their order: what others rest on comes first."""

from django.conf import settings

from objectvision.doctor import background, configuration, files, machine, services
from objectvision.doctor.detector import NONE_HINT, check_detector
from objectvision.doctor.findings import Check

# A torch detector and its libraries take long to load from a cold disk.
LOAD_SECONDS = 60
SEND_SECONDS = 20
TABLES = ("database", "migrations")


def all_checks(mail_to: str | None = None) -> list[Check]:
    return [
        *checks_of_services(),
        *checks_of_background(),
        *checks_of_machine(),
        *checks_of_settings(mail_to),
    ]


def checks_of_services() -> list[Check]:
    migrate = "Run manage.py setup, then restart all processes."
    return [
        Check("database", services.check_database, services.DATABASE_HINT),
        Check("migrations", services.check_migrations, migrate, needs=("database",)),
        Check("database clock", services.check_clock_of_database, services.CLOCK_HINT, needs=("database",)),
        Check("Redis", services.check_redis, services.REDIS_HINT),
        Check("Redis clock", services.check_clock_of_redis, services.CLOCK_HINT, needs=("Redis",)),
        Check("broker", services.check_broker, services.REDIS_HINT, needs=("Redis",)),
    ]


def checks_of_background() -> list[Check]:
    wrong_clock = "Its heartbeats also seem lost where a clock is wrong."
    workers = [
        Check(
            f"worker of {queue}",
            background.check_worker_of(queue),
            f"Start it: {command}. {wrong_clock}",
            needs=("Redis",),
        )
        for queue, command in background.START.items()
    ]
    beat_hint = f"Start exactly one: {background.START_BEAT}. {wrong_clock}"
    webhooks_hint = (
        "See the log of deliveries in the admin: its receivers fail, or workers of webhooks are too few."
    )
    return [
        *workers,
        Check("beat", background.check_beat, beat_hint, needs=("Redis",) if settings.REDIS_URL else TABLES),
        Check("webhooks", background.check_webhooks, webhooks_hint, needs=TABLES),
    ]


def checks_of_machine() -> list[Check]:
    space = "Free space, or set DATA_DIR to a folder on a larger file system."
    files_hint = "Raise it for all processes: ulimit -n 65536, or LimitNOFILE=65536 in systemd's units."
    memory = "An inference worker needs about 0.5 GB: give more memory, or run it on another machine."
    runtime = "Install what requirements.lock names: make .venv/.installed."
    return [
        Check("storage", files.check_storage, "See that the file system of DATA_DIR answers."),
        Check("disk", files.check_space, space),
        Check("OpenVINO", machine.check_devices, runtime, seconds=LOAD_SECONDS),
        Check("detector", check_detector, NONE_HINT, needs=TABLES, seconds=LOAD_SECONDS),
        Check("open files", machine.check_files, files_hint),
        Check("memory", machine.check_memory, memory),
    ]


def checks_of_settings(mail_to: str | None) -> list[Check]:
    mail = configuration.check_mail(mail_to)
    return [
        Check(
            "settings", configuration.check_settings, "Run manage.py check --deploy.", seconds=LOAD_SECONDS
        ),
        Check("mail", mail, configuration.MAIL_HINT, seconds=SEND_SECONDS),
    ]
