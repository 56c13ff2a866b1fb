"""Is it running, and each part that it needs? Answers for load balancers and operators, without internals."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import redis
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import connection
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detections.models import Detector
from objectvision import connections, heartbeats, shared_redis
from objectvision.examples import answered
from objectvision.ids import uuid7
from objectvision.negotiation import OneForm

log = logging.getLogger(__name__)

Facts = dict[str, Any]

ANSWER_SECONDS = 3


class PartAwayError(Exception):
    """The part does not do its work; the message may be shown to anyone."""


class Part:
    """Checks a part aside, once at a time: who asks gets an answer in `ANSWER_SECONDS`, whatever hangs.

    Who asks while a check is under way waits for that one, and no longer than is left of its time. So a part
    that hangs costs one thread and one connection, however often it is asked for.
    """

    def __init__(self, check: Callable[[], Facts], silence: str) -> None:
        self.check = check
        self.silence = silence
        self._lock = threading.Lock()
        self._running: Future[Facts] | None = None
        self._deadline = 0.0

    def __call__(self) -> Facts:
        with self._lock:
            if self._running is None or self._running.done():
                self._deadline = time.monotonic() + ANSWER_SECONDS
                self._running = aside(self.check)
            running, deadline = self._running, self._deadline
        try:
            return running.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise PartAwayError(self.silence) from None


def aside(check: Callable[[], Facts]) -> Future[Facts]:
    """Run it in a thread that keeps no process from ending, as those of an executor would."""
    future: Future[Facts] = Future()

    def run() -> None:
        try:
            future.set_result(check())
        except BaseException as error:  # noqa: BLE001  # whoever asked gets it
            future.set_exception(error)
        finally:
            connections.give_back()

    threading.Thread(target=run, name="health", daemon=True).start()
    return future


def service() -> Facts:
    return {"service": "objectvision"}


def database() -> Facts:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise PartAwayError("The database does not answer.") from error
    return {"database": "connected"}


def redis_part() -> Facts:
    client = shared_redis.shared()
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
    if missing := {"inference", "default"} - served:
        raise PartAwayError(f"No worker serves {' and '.join(sorted(missing))}.")
    if not alive.beat:
        raise PartAwayError("Beat has not sent its sweep for long: nobody finds lost work.")
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
    """What each part says of itself, beside its status."""

    status = serializers.ChoiceField(["ok", "error"])
    message = serializers.CharField(required=False, help_text="What is wrong.")
    service = serializers.CharField(required=False)
    database = serializers.CharField(required=False)
    redis = serializers.CharField(required=False, help_text="`not used` where everything is one process.")
    workers = WorkerSerializer(many=True, required=False)
    beat = serializers.CharField(required=False)
    storage = serializers.CharField(required=False)
    detector = serializers.CharField(required=False)
    backend = serializers.CharField(required=False)
    classes = serializers.IntegerField(required=False)


class HealthView(APIView):
    """One part's health."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()  # probes ask often, many of them from one address
    content_negotiation_class = OneForm
    part: Callable[[], Facts] = staticmethod(service)
    operation_id: str | None = None

    @extend_schema(
        summary="Health",
        description=(
            "`/health` says that the server answers and touches nothing else. The pages below it each look "
            f"at one part and answer within {ANSWER_SECONDS} seconds, whatever hangs."
        ),
        responses={200: HealthSerializer, 503: OpenApiResponse(HealthSerializer, "The part does not work.")},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002  # DRF's signature
        try:
            return Response({"status": "ok", **self.part()})
        except PartAwayError as error:
            log.warning("Health: %s", error, exc_info=error.__cause__)
            return Response({"status": "error", "message": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)


PARTS: dict[str, Callable[[], Facts]] = {
    "": service,
    "/database": Part(database, "The database does not answer."),
    "/redis": Part(redis_part, "Redis does not answer."),
    "/celery": Part(celery, "The workers' heartbeats cannot be read."),
    "/storage": Part(storage, "The storage does not answer."),
    "/detector": Part(detector, "The default detector cannot be read."),
}
