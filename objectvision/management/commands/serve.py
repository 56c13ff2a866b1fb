import logging
import signal
import socket
import sys
import threading
from importlib import import_module
from typing import Any

import uvicorn
from celery.beat import EmbeddedService
from celery.worker import WorkController, state
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from detections.jobs import processing
from detections.models import Detector
from detections.operations import demo
from notifications.outbox import SEND_TASK
from notifications.webhooks.senders import senders
from objectvision.celery import app
from objectvision.lib import doorbell, logs, metrics, wakeups
from objectvision.lib.migrations import unapplied_migrations
from objectvision.server.protocol import SOCKET_OPTIONS, Protocol

log = logging.getLogger(__name__)

STOP_SECONDS = 4
# For requests under way; those that wait for a detection are let go at once.
GRACE_SECONDS = 2


class Server(uvicorn.Server):
    """Says where it is once it is there, and lets everything else know when it is told to stop."""

    def __init__(self, config: uvicorn.Config, welcome: str, stop_rest: threading.Thread) -> None:
        super().__init__(config)
        self.welcome = welcome
        self.stop_rest = stop_rest

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if settings.LOG_FORMAT == logs.JSON:
            log.info(self.welcome)
        else:
            sys.stdout.write(f"{self.welcome}\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: Any) -> None:
        wakeups.stop()
        processing.stopping.set()
        senders.stopping.set()
        if not self.stop_rest.ident:  # a second signal
            self.stop_rest.start()
        super().handle_exit(sig, frame)


class Command(BaseCommand):
    help = "Serves everything from this one process: the API, the worker and the scheduler."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")

    def handle(self, *, host: str, port: int, **_: Any) -> None:
        if unapplied_migrations():
            raise CommandError("The tables are not up to date: run manage.py setup first.")
        connection.close()
        import_module("objectvision.asgi")  # it sets logging up anew, and so does a worker that is made
        logs.take_over_output()
        # uvicorn raises the signal that stopped it again when it is done: that must not end the process
        # before the worker has stopped.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        if not settings.API_BASE_URL and not settings.DEPLOYED:  # links in mails that this process sends
            settings.PUBLIC_URL = f"http://localhost:{port}"
        metrics.begin("serve")
        doorbell.answer_here(SEND_TASK, senders.wake)
        worker = start_worker()
        beat: Any = EmbeddedService(app, thread=True, scheduler_cls=app.conf.beat_scheduler)
        beat.start()
        # They stop while the server does, not after it.
        stop_rest = threading.Thread(target=stop, args=(beat, worker), name="stop")
        try:
            self.serve(host, port, stop_rest)
        finally:
            if not stop_rest.ident:
                stop_rest.start()
            stop_rest.join(STOP_SECONDS)

    def serve(self, host: str, port: int, stop_rest: threading.Thread) -> None:
        config = uvicorn.Config(
            "objectvision.asgi:application",
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            proxy_headers=bool(settings.TRUSTED_PROXIES),
            forwarded_allow_ips=settings.TRUSTED_PROXIES,
            server_header=False,
            http=Protocol,
            **SOCKET_OPTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = Server(config, welcome(f"http://{host}:{port}"), stop_rest)
        server.run()
        if not server.started:
            raise CommandError(f"Cannot listen on {host}:{port}; choose another with --port.")


def start_worker() -> threading.Thread:
    worker = WorkController(
        app=app,
        pool_cls="solo",
        concurrency=1,
        queues=["inference", "default", "webhooks"],
        without_gossip=True,
        without_mingle=True,
    )
    logs.take_over_output()
    thread = threading.Thread(target=worker.start, name="worker", daemon=True)
    thread.start()
    return thread


def stop(beat: Any, worker: threading.Thread) -> None:
    processing.stopping.set()
    state.should_stop = 0  # type: ignore[assignment]  # an exit status; the stubs infer None
    # The worker looks at the flag between messages, for which it waits up to two seconds, and once more as
    # it leaves.
    doorbell.ring_doorbell("detections.process_images")
    doorbell.ring_doorbell("detections.process_images")
    beat.stop()
    senders.stop(GRACE_SECONDS)
    worker.join(STOP_SECONDS)


def welcome(url: str) -> str:
    lines = [f"ObjectVision serves {url}/api/v1", f"Documentation: {url}/docs"]
    detector = Detector.objects.default()
    connection.close()
    if detector and not settings.DEPLOYED:
        account = f"{demo.EMAIL} with the password {demo.PASSWORD}"
        lines += [f"Demo account: {account}", "Try it:", f"  {curl(f'{url}/api/v1', detector)}"]
    return "\n".join(lines)


def curl(api: str, detector: Detector) -> str:
    """A line for a shell that logs in and sends a picture in which the detector finds something."""
    log_in = f"curl -s {api}/auth/login -d username={demo.EMAIL} -d password={demo.PASSWORD}"
    token = f"""TOKEN=$({log_in} | sed 's/.*"access_token":"//; s/".*//')"""
    picture, *_ = demo.samples(detector.classes)
    send = f"-F image=@{picture} {api}/detect/image"
    return f'{token} && curl -H "Authorization: Bearer $TOKEN" -H "Prefer: wait=20" {send}'
