"""Threads of a worker that send webhooks.

A thread claims a delivery, sends it, and goes on until none is due. There are many: a receiver that hangs
holds one for as long as a request may take.
"""

import logging
import random
import threading
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.models.webhooks import Ready
from notifications.webhooks.delivery import deliver
from objectvision.lib import connections, tracing

log = logging.getLogger(__name__)

MOST = 64
MOST_FOR_TROUBLED = 32
"""Threads for endpoints that fail at present or answer slowly: the rest is for the others."""
SLOW = timedelta(seconds=2)
LOOK_AGAIN = timedelta(seconds=1)
SOON = timedelta(seconds=10)
"""What is due later is found by the sweep."""


class Senders:
    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._lock = threading.Condition()
        self._reading = threading.Lock()
        self._ready: list[Ready] = []  # read for all threads, tried by one each
        self._read_at = 0.0
        self._running = 0
        self._under_way: dict[WebhookDelivery, bool] = {}  # whether its endpoint is troubled
        self._troubled = 0  # of these
        self._slow = set[UUID]()  # endpoints whose last attempt in this process took long
        self._look_until = timezone.now()
        self._is_looking = False

    def wake(self) -> None:
        """Look for deliveries in one more thread, unless as many run as may: each looks before it ends."""
        with self._lock:
            if self.stopping.is_set() or self._running >= MOST:
                return
            self._running += 1
        threading.Thread(target=self._run, name="webhooks", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """Claim nothing more, wait so long for what is under way, and give the rest back."""
        self.stopping.set()
        with self._lock:
            self._lock.wait_for(lambda: not self._under_way, seconds)
            left = list(self._under_way)
            self._under_way.clear()  # another stop waits no longer
            self._lock.notify_all()
        for delivery in left:
            delivery.give_back()

    def _run(self) -> None:
        try:
            while not self.stopping.is_set() and (self._send_next() or self._wait_for_retry()):
                pass
        except (OperationalError, InterfaceError) as error:
            log.warning("Webhooks wait for the database: %s", error)
        finally:
            connections.give_back()
            with self._lock:
                self._running -= 1

    def _send_next(self) -> bool:
        """False if nothing can be sent now."""
        delivery = self._claim()
        if delivery is None:
            return False
        started = monotonic()
        try:
            with tracing.span("webhook", delivery.traceparent, attempt=delivery.attempts):
                deliver(delivery)
        finally:
            connections.give_back()
            took = timedelta(seconds=monotonic() - started)
            with self._lock:
                self._troubled -= self._under_way.pop(delivery, False)
                change = self._slow.add if took > SLOW else self._slow.discard
                change(delivery.endpoint_id)
                if delivery.next_at < timezone.now() + SOON:
                    self._look_until = max(self._look_until, delivery.next_at + LOOK_AGAIN)
                self._lock.notify_all()
        return True

    def _claim(self) -> WebhookDelivery | None:
        began = monotonic()
        while endpoint := self._next_ready(began):
            if delivery := self._claim_of(endpoint):
                # Others may be ready: those left, those since they were read, or this one for a second time.
                if self._ready or self._read_at < began or not endpoint.under_way:
                    self.wake()
                return delivery
        return None

    def _next_ready(self, began: float) -> Ready | None:
        """An endpoint to try. They are read anew once at most for a look that began then (`monotonic`)."""
        connections.give_back()  # threads that wait here hold none
        with self._reading:
            if not self._ready and self._read_at < began:
                self._read_at = monotonic()
                self._ready = WebhookEndpoint.objects.ready(timezone.now())
                random.shuffle(self._ready)  # each has the same chance, however long its queue is
            return self._ready.pop() if self._ready else None

    def _claim_of(self, endpoint: Ready) -> WebhookDelivery | None:
        with self._lock:
            is_troubled = endpoint.is_failing or endpoint.pk in self._slow
            if is_troubled and self._troubled >= MOST_FOR_TROUBLED:
                return None
            self._troubled += is_troubled  # before the claim: others claim at the same time
        delivery = None
        try:
            delivery = WebhookDelivery.objects.claim_of(endpoint.pk)
        finally:
            with self._lock:
                if delivery:
                    self._under_way[delivery] = is_troubled
                else:
                    self._troubled -= is_troubled
        return delivery

    def _wait_for_retry(self) -> bool:
        """Whether to look again: one thread does, while an attempt that failed lately may be repeated."""
        with self._lock:
            if self._is_looking or timezone.now() > self._look_until:
                return False
            self._is_looking = True
        connections.give_back()
        self.stopping.wait(LOOK_AGAIN.total_seconds())
        with self._lock:
            self._is_looking = False
        return True


senders = Senders()
