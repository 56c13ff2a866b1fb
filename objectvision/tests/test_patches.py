"""Our patches still match the libraries: these tests fail after an update that breaks one."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from billiard import pool
from django.contrib.staticfiles import finders

from objectvision import celery, pages


def test_a_billiard_child_waits_one_second_for_the_count_of_its_last_result(monkeypatch):
    monkeypatch.setattr(pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)  # to be restored
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    celery.leave_soon()
    worker = object.__new__(pool.Worker)
    worker.on_ready_counter = SimpleNamespace(value=0)
    worker._ensure_messages_consumed(completed=1)
    assert sum(slept) == pytest.approx(1)


def test_the_logo_in_the_script_of_redoc_is_replaced():
    original = Path(finders.find(pages.REDOC)).read_bytes()
    assert pages.LOGO in original
    script = pages.redoc_script()
    assert pages.LOGO not in script
    assert script.count(pages.NO_LOGO) == original.count(pages.LOGO)
