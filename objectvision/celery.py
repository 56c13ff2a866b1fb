import os
from typing import Any

from billiard import pool
from celery import Celery
from celery.apps import worker
from celery.concurrency import get_implementation, thread
from celery.signals import (
    beat_init,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
)

from objectvision.lib import connections, logs, metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
# Django's checks load all views, which workers never use: 0.4 s and 23 MB. `manage.py check` has run them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "yes")

app = Celery("objectvision")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def runs_threads(options: dict[str, Any]) -> bool:
    """Whether the worker that starts was given `-P threads`."""
    return issubclass(get_implementation(options.get("pool_cls") or "prefork"), thread.TaskPool)


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Celery sets up no logging of its own when this signal has a receiver."""
    logs.take_over_output()


def quiet_beat(**options: Any) -> Any:
    """Beat, without a banner where each line is JSON."""
    from celery.apps.beat import Beat
    from django.conf import settings

    return Beat(**{**options, "app": app, "quiet": settings.LOG_FORMAT == logs.JSON})


vars(app)["Beat"] = quiet_beat


@celeryd_init.connect
def write_only_lines(instance: Any, **_: Any) -> None:
    from django.conf import settings

    logs.take_over_output()
    if settings.LOG_FORMAT == logs.JSON:
        instance.quiet = True
        vars(worker)["safe_say"] = logs.write_past_locks


@celeryd_init.connect
def keep_one_connection(options: dict[str, Any], **_: Any) -> None:
    if runs_threads(options):  # they share a pool, as requests do
        return
    # A process runs one task at a time, and Celery rebuilds a pool after each.
    from django.conf import settings

    database = settings.DATABASES["default"]
    database.get("OPTIONS", {}).pop("pool", None)
    database["CONN_MAX_AGE"] = None


@celeryd_init.connect
def leave_soon(**_: Any) -> None:
    # A stopping worker may miss its child's last result, for which the child waits 30 s by default.
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10  # tenths of a second


@celeryd_init.connect
def start_at_once(**_: Any) -> None:
    from celery.worker.consumer import Mingle

    # A second for the answers of other workers, which know nothing that this one needs.
    Mingle.compatible_transports = set()


@task_prerun.connect
def drop_broken_connection(task: Any, **_: Any) -> None:
    # Workers keep their connection, which a restart of PostgreSQL breaks.
    from django.db import close_old_connections, connection

    if task.request.is_eager:  # inside the caller's transaction
        return
    close_old_connections()
    if connections.has_ended(connection):
        connection.close()


@worker_init.connect
def record_metrics_of_worker(**_: Any) -> None:
    metrics.begin(",".join(sorted(app.amqp.queues.consume_from)))


@beat_init.connect
def record_metrics_of_beat(**_: Any) -> None:
    metrics.begin("beat")


@worker_process_init.connect
@task_postrun.connect
def measure_process(**_: Any) -> None:
    metrics.measure_process()
