import os
import resource
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
django = get_asgi_application()

from notifications import news  # noqa: E402  # after the apps are loaded
from objectvision.guards import App, Message, Receive, RequestSizeGuard, RequestStamp, Send  # noqa: E402  # as above

# A batch of 100 larger files holds as many open while it is read.
FILES = 65_536


def raise_file_limit() -> None:
    """As far as the system lets this process: many begin with 1,024 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def before(handler: Any, act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        act()
        if callable(handler):
            handler(number, frame)

    return handle


class Lifespan:
    """Lets waiting requests go when the server is told to stop: it waits for them before its own shutdown."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, before(signal.getsignal(number), news.stop))
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


raise_file_limit()
application = Lifespan(RequestStamp(RequestSizeGuard(cast(App, django))))
