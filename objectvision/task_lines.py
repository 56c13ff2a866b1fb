"""One line in the log for each task that has ended, with the id of the request that rang for it."""

import logging
import time
from datetime import timedelta
from typing import Any

from celery import current_task
from celery.signals import before_task_publish, task_postrun, task_prerun
from django.conf import settings

from objectvision.lib import logs

log = logging.getLogger("objectvision.tasks")

SUCCESS = "SUCCESS"
# Of which most find nothing to do.
FREQUENT = frozenset(
    entry["task"]
    for entry in settings.CELERY_BEAT_SCHEDULE.values()
    if entry["schedule"] < timedelta(minutes=1)
)


@before_task_publish.connect
def name_request(headers: dict[str, Any], **_: Any) -> None:
    if not current_task:  # a task that rings once more works for other requests too
        headers["request_id"] = logs.current_request()


@task_prerun.connect
def begin_task(task: Any, **_: Any) -> None:
    task.request.began = time.perf_counter()
    task.request.token = logs.request_id.set(task.request.get("request_id") or logs.NO_REQUEST)


@task_postrun.connect
def record_task(task: Any, task_id: str, state: str | None, **_: Any) -> None:
    milliseconds = round((time.perf_counter() - task.request.began) * 1000, 1)
    facts = {"task": task.name, "task_id": task_id, "outcome": state, "duration_ms": milliseconds}
    level = logging.DEBUG if task.name in FREQUENT and state == SUCCESS else logging.INFO
    log.log(level, "Task %s %s", task.name, state, extra=facts)
    logs.request_id.reset(task.request.token)
