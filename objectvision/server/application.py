"""The ASGI application: guards in front of Django, and the limits of a web process."""

import resource
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

from channels.routing import ProtocolTypeRouter
from django.conf import settings

from detections.images.allocation import return_large_blocks
from detections.live import sockets
from objectvision.lib import metrics, tracing, wakeups
from objectvision.server.guards import App, Message, Receive, RequestGuard, RequestStamp, Send
from objectvision.server.handler import Handler

STATEMENT_SECONDS = 15
MAX_OPEN_FILES = 65_536  # each client holds one open, and each large upload another


def raise_file_limit() -> None:
    """Raise the soft limit of open files, 1,024 on many systems, to MAX_OPEN_FILES or the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def with_wake_up(handler: Any) -> Callable[[int, FrameType | None], None]:
    """The signal handler, preceded by the end of all waiting requests and streams."""

    def handle(number: int, frame: FrameType | None) -> None:
        wakeups.stop()
        if callable(handler):
            handler(number, frame)

    return handle


class Lifespan:
    """Ends waiting requests at the stop signal, since the server waits for them before its own shutdown."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                metrics.begin("web")
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, with_wake_up(signal.getsignal(number)))
            else:
                tracing.send_spans()  # gunicorn's processes end by the signal, without their exit handlers
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def limit_statements() -> None:
    """Bound the statements of web processes, also of clients that have gone. Migrations and workers have no
    such bound."""
    database = settings.DATABASES["default"]
    if settings.HAS_DATABASE:
        given = database["OPTIONS"].get("options", "")
        database["OPTIONS"]["options"] = f"{given} -c statement_timeout={STATEMENT_SECONDS}s".strip()


raise_file_limit()
return_large_blocks()
limit_statements()
http = RequestGuard(cast(App, Handler()))
application = Lifespan(RequestStamp(ProtocolTypeRouter({"http": http, "websocket": sockets.answer})))
