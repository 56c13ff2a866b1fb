"""A Celery app that never counts its children's results, as Billiard sometimes fails to do in a stop."""

from celery.concurrency.asynpool import AsynPool, ResultHandler

from objectvision.celery import app

__all__ = ["app"]


class Uncounting(ResultHandler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"on_ready_counters": {}})


AsynPool.ResultHandler = Uncounting
