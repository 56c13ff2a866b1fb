"""The health of the service and of each part that it needs, without internals, for probes and operators."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import redis
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import connection
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from uuid_utils.compat import uuid7

from detections.models import Detector
from objectvision.api.examples import answered
from objectvision.api.negotiation import OneForm
from objectvision.api.views import StrictView
from objectvision.lib import heartbeats
from objectvision.lib.migrations import unapplied_migrations
from objectvision.lib.redis import shared_client
from objectvision.lib.threads import run_in_thread

if TYPE_CHECKING:
    from concurrent.futures import Future

log = logging.getLogger(__name__)

Facts = dict[str, Any]
T = TypeVar("T")

ANSWER_SECONDS = 3
QUEUES = {"inference", "default", "webhooks"}
"""Each needs a worker; one worker may serve several."""


class PartAwayError(Exception):
    """The part does not work. The message is public."""


class Part(Generic[T]):
    """Checks a part in a thread and answers within ANSWER_SECONDS, even if the part hangs.

    Requests that come during a check wait for its result, at most until its deadline. A part that hangs
    costs one thread and one connection, however many requests ask for it.
    """

    def __init__(self, check: Callable[[], T], silence: str) -> None:
        self.check = check
        self.silence = silence
        self._lock = threading.Lock()
        self._running: Future[T] | None = None
        self._deadline = 0.0

    def __call__(self) -> T:
        return self.begin()()

    def begin(self) -> Callable[[], T]:
        """Start the check, unless it runs; what is returned waits for its result."""
        with self._lock:
            if self._running is None or self._running.done():
                self._deadline = time.monotonic() + ANSWER_SECONDS
                self._running = run_in_thread(self.check, "health")
            return partial(self._wait_for, self._running, self._deadline)

    def _wait_for(self, running: "Future[T]", deadline: float) -> T:
        try:
            return running.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise PartAwayError(self.silence) from None


def service() -> Facts:
    return {"service": "objectvision"}


def database() -> Facts:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise PartAwayError("The database does not answer.") from error
    return {"database": "connected"}


def migrations() -> Facts:
    try:
        missing = unapplied_migrations()
    except DatabaseError as error:
        raise PartAwayError("The database does not answer.") from error
    if missing:
        log.warning("Migrations that are not applied: %s", ", ".join(missing))
        raise PartAwayError("The tables are not up to date.")
    return {"database": "connected", "migrations": "applied"}


def redis_part() -> Facts:
    client = shared_client()
    if client is None:
        return {"redis": "not used"}
    try:
        client.ping()
    except redis.RedisError as error:
        raise PartAwayError("Redis does not answer.") from error
    return {"redis": "connected"}


def celery() -> Facts:
    try:
        alive = heartbeats.alive()
    except redis.RedisError as error:
        raise PartAwayError("The workers' heartbeats cannot be read.") from error
    served = {queue for worker in alive.workers for queue in worker["queues"]}
    if missing := QUEUES - served:
        raise PartAwayError(f"No worker serves {', '.join(sorted(missing))}.")
    if not alive.beat:
        raise PartAwayError("Beat has not sent its sweep for long: lost work is not found.")
    workers = [{"name": worker["name"], "queues": worker["queues"]} for worker in alive.workers]
    return {"workers": workers, "beat": "alive"}


def storage() -> Facts:
    content = b"health"
    path = f"health/{uuid7()}"
    try:
        path = default_storage.save(path, ContentFile(content))
        try:
            with default_storage.open(path) as file:
                if file.read() != content:
                    raise PartAwayError("The storage returns other bytes than it was given.")
        finally:
            default_storage.delete(path)
    except OSError as error:
        raise PartAwayError("The storage cannot be written or read.") from error
    return {"storage": "writable"}


def detector() -> Facts:
    try:
        default = Detector.objects.default()
    except DatabaseError as error:
        raise PartAwayError("The database does not answer.") from error
    if default is None:
        raise PartAwayError("No detector is prepared.")
    if not default.folder.is_dir():
        raise PartAwayError("The default detector's files are missing.")
    return {"detector": default.name, "backend": default.backend, "classes": len(default.classes)}


def ready() -> Facts:
    """What a request needs, asked at once: if all parts hang, they cost the time of one."""
    waiting = [part.begin() for part in (MIGRATIONS, STORAGE)]
    return {name: fact for wait in waiting for name, fact in wait().items()}


class WorkerSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    queues = serializers.ListField(child=serializers.CharField())


@extend_schema_serializer(
    examples=[
        answered({"status": "ok", "service": "objectvision"}),
        answered({"status": "error", "message": "The database does not answer."}, 503),
    ]
)
class HealthSerializer(serializers.Serializer[Any]):
    """The status, and what each part reports."""

    status = serializers.ChoiceField(["ok", "error"])
    message = serializers.CharField(required=False, help_text="What is wrong.")
    service = serializers.CharField(required=False)
    database = serializers.CharField(required=False)
    migrations = serializers.CharField(required=False)
    redis = serializers.CharField(required=False, help_text="`not used` where everything is one process.")
    workers = WorkerSerializer(many=True, required=False)
    beat = serializers.CharField(required=False)
    storage = serializers.CharField(required=False)
    detector = serializers.CharField(required=False)
    backend = serializers.CharField(required=False)
    classes = serializers.IntegerField(required=False)


class HealthView(StrictView):
    """The health of one part."""

    lenient_methods = SAFE_METHODS  # probes add parameters against caches
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()  # probes ask often, many of them from one address
    content_negotiation_class = OneForm
    part: Callable[[], Facts] = staticmethod(service)
    operation_id: str | None = None

    @extend_schema(
        responses={200: HealthSerializer, 503: OpenApiResponse(HealthSerializer, "The part does not work.")}
    )
    def get(self, _request: Request) -> Response:
        """Health.

        `/health` says that the server answers, and touches nothing else. Each page below it looks at one part
        and answers within 3 seconds, even if the part hangs; `/health/ready` looks at all that requests need:
        database, migrations and storage.
        """
        try:
            return Response({"status": "ok", **self.part()})
        except PartAwayError as error:
            log.warning("Health: %s", error, exc_info=error.__cause__)
            return Response({"status": "error", "message": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)


MIGRATIONS = Part(migrations, "The database does not answer.")
STORAGE = Part(storage, "The storage does not answer.")
PARTS: dict[str, Callable[[], Facts]] = {
    "": service,
    "/ready": ready,
    "/database": Part(database, "The database does not answer."),
    "/redis": Part(redis_part, "Redis does not answer."),
    "/celery": Part(celery, "The workers' heartbeats cannot be read."),
    "/storage": STORAGE,
    "/detector": Part(detector, "The default detector cannot be read."),
}
