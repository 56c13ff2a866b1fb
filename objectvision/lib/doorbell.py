"""Tells workers that rows wait.

A message carries no work: a lost, doubled or late one does no harm.
"""

import logging
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from objectvision.lib import connections

log = logging.getLogger(__name__)

_answers: dict[str, Callable[[], None]] = {}


def ring_doorbell(task: str) -> None:
    """Send the task of this name.

    Raises what the broker's client raises while the broker is away.
    """
    answer = _answers.get(task)
    if answer:
        answer()
    else:
        current_app.send_task(task)


def answer_here(task: str, answer: Callable[[], None]) -> None:
    """In this process, call this instead of sending the task: its worker may be busy with another one."""
    _answers[task] = answer


def ring_if_reachable(task: str) -> None:
    """As `ring_doorbell`. A broker that is away is a line in the log: the sweep rings."""
    try:
        ring_doorbell(task)
    except OperationalError as error:
        log.warning("No message for %s: %s", task, error)


def ring_after_commit(task: str) -> None:
    """As `ring_doorbell`, after the commit.

    A broker that is away is a line in the log: the sweep rings.
    """

    def ring_without_connection() -> None:
        connections.give_back()  # a broker that hangs holds up this request alone
        ring_doorbell(task)

    transaction.on_commit(ring_without_connection, robust=True)
