"""Is it running, and each part that it needs? Answers for load balancers and operators, without internals."""

import logging
from collections.abc import Callable
from typing import Any

import redis
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detections.models import Detector
from objectvision import heartbeats, shared_redis
from objectvision.ids import uuid7
from objectvision.negotiation import OneForm

log = logging.getLogger(__name__)

Facts = dict[str, Any]


class PartAwayError(Exception):
    """The part does not do its work; the message may be shown to anyone."""


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
        workers = heartbeats.alive()
    except redis.RedisError as error:
        raise PartAwayError("The workers' heartbeats cannot be read.") from error
    served = {queue for worker in workers for queue in worker["queues"]}
    if missing := {"inference", "default"} - served:
        raise PartAwayError(f"No worker serves {' and '.join(sorted(missing))}.")
    return {"workers": [{"name": worker["name"], "queues": worker["queues"]} for worker in workers]}


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
    default = Detector.objects.default()
    if default is None:
        raise PartAwayError("No detector is prepared.")
    if not default.folder.is_dir():
        raise PartAwayError("The default detector's files are missing.")
    return {"detector": default.name, "backend": default.backend, "classes": len(default.classes)}


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ok", "error"])
    message = serializers.CharField(required=False)


class HealthView(APIView):
    """One part's health."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()  # probes ask often, many of them from one address
    content_negotiation_class = OneForm
    part: Callable[[], Facts] = staticmethod(service)

    @extend_schema(
        summary="Health",
        responses={200: HealthSerializer, 503: OpenApiResponse(HealthSerializer, "The part does not work.")},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002  # DRF's signature
        try:
            return Response({"status": "ok", **self.part()})
        except PartAwayError as error:
            log.warning("Health: %s", error, exc_info=error.__cause__)
            return Response({"status": "error", "message": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)


PARTS = {
    "": service,
    "/database": database,
    "/redis": redis_part,
    "/celery": celery,
    "/storage": storage,
    "/detector": detector,
}
