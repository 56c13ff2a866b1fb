"""The broker of a single process: kombu's in memory, whose worker wakes instead of looking often."""

import threading
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import memory

# A worker looks once more after this, should a message have come another way.
LOOK_SECONDS = 1

_arrived = threading.Event()


class Channel(memory.Channel):
    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        _arrived.set()


class Transport(memory.Transport):
    Channel = Channel

    cycle: Any

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:  # noqa: ARG002  # kombu's signature
        """Deliver a message, once there is one.

        Raises TimeoutError.
        """
        deadline = monotonic() + timeout if timeout else None
        while True:
            _arrived.clear()
            try:
                self.cycle.get(self._deliver)
            except Empty:
                left = LOOK_SECONDS if deadline is None else deadline - monotonic()
                if left <= 0:
                    raise TimeoutError from None
                _arrived.wait(min(left, LOOK_SECONDS))
            else:
                return
