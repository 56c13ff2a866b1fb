"""Server-sent events; WebSockets are opened as these are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from accounts.api.authentication import (
    ApiKeyAuthentication,
    BrowserAuthentication,
    SessionTokenAuthentication,
    TicketAuthentication,
)
from accounts.api.caller import current_credential, current_user
from accounts.models import Scope
from detections.live import slots
from detections.live.messages import Message
from detections.live.streams import Stream
from notifications.models import Event
from objectvision.api.errors import invalid
from objectvision.api.examples import answered
from objectvision.api.fields import QuerySerializer, TextField
from objectvision.api.negotiation import OneForm
from objectvision.api.origins import is_own_page
from objectvision.api.plain_answers import error_body
from objectvision.api.schema import ClientErrorSerializer
from objectvision.api.views import StrictView
from objectvision.lib import connections

LAST_ID = "Last-Event-ID"
VERSION_7 = 7
LAST_MS = int(datetime.max.replace(tzinfo=UTC).timestamp()) * 1000
RECONNECT_MS = 2000
EXAMPLE = """retry: 2000

id: 01a20edd-8d77-7b0e-a0aa-7b1c0fcb0f8e
event: detection.started
data: {"id": "01a20edd-8d77-7b0e-a0aa-7b1c0fcb0f8e", "type": "detection.started", …}

event: detection.progress
data: {"id": "01a20edd-8d6d-771c-a97a-6ef9813f55bd:7", "type": "detection.progress", …}

"""


class ForeignOrigin(PermissionDenied):
    default_detail = "Pages of this origin may not open a stream: it is not one of CORS_ALLOWED_ORIGINS."
    default_code = "foreign_origin"


class EventsQuerySerializer(QuerySerializer):
    since = serializers.DateTimeField(
        required=False, help_text=f"Events from then on, up to {Event.KEPT.days} days back."
    )
    ticket = TextField(
        required=False, help_text="From `POST /api/v1/auth/ws-ticket`, instead of an `Authorization`."
    )


ANSWERS = {
    (200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, examples=[answered(EXAMPLE)]),
    403: OpenApiResponse(
        ClientErrorSerializer,
        examples=[answered(error_body("foreign_origin", ForeignOrigin.default_detail), 403)],
    ),
}


@extend_validation_errors(["invalid"], LAST_ID)
class EventsView(StrictView):
    key_scopes: ClassVar = {"GET": Scope.READ}
    http_method_names = ("get", "options")  # the answer to a HEAD would have no end either
    authentication_classes = (
        SessionTokenAuthentication, ApiKeyAuthentication, TicketAuthentication, BrowserAuthentication,
    )  # fmt: skip  # a list to read at a glance
    content_negotiation_class = OneForm
    query_serializer_class = EventsQuerySerializer

    @extend_schema(
        operation_id="follow_events",
        tags=["events"],
        parameters=[
            EventsQuerySerializer,
            OpenApiParameter(
                LAST_ID,
                OpenApiTypes.UUID,
                OpenApiParameter.HEADER,
                description="The `id` of the last event that you have; it goes before `since`.",
            ),
        ],
        responses=ANSWERS,
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Follow events.

        Your events as they happen, as server-sent events: what begins and how it ends, with the progress of
        running jobs in between. With `Last-Event-ID` or `since`, first the events after that, some of them
        perhaps a second time: their ids are the same. At most 10 streams at a time. The same messages come by
        WebSocket from `/ws/`.
        """
        body = EventStream(self.open_stream(request, "sse"))
        connections.give_back()
        headers = {"X-Accel-Buffering": "no"}  # nginx would hold messages back
        return StreamingHttpResponse(body, content_type="text/event-stream", headers=headers)

    def open_stream(self, request: Request, kind: str) -> Stream:
        """Raises ForeignOrigin, ValidationError, slots.TooManyStreams."""
        refuse_foreign_origin(request)
        since = self.since(request)
        user = current_user(request)
        slot = slots.take(user.pk, kind)
        try:
            return Stream(user.pk, current_credential(request), since, slot)
        except BaseException:  # whatever it is: it is raised again
            slot.release()
            raise

    def since(self, request: Request) -> datetime | None:
        """The time up to which the client has its events. Raises ValidationError."""
        last_id = request.headers.get(LAST_ID)
        since: datetime | None = self.query().get("since")
        return since if last_id is None else time_of(last_id)


def refuse_foreign_origin(request: Request) -> None:
    """Raises ForeignOrigin, SuspiciousOperation for a wrong host."""
    if not is_own_page(request) and request.headers["Origin"] not in settings.CORS_ALLOWED_ORIGINS:
        raise ForeignOrigin


def time_of(event_id: str) -> datetime:
    """When the event with this id was made. Raises ValidationError."""
    try:
        parsed = UUID(event_id)
    except ValueError:
        parsed = UUID(int=0)
    milliseconds = parsed.int >> 80
    if parsed.version != VERSION_7 or milliseconds > LAST_MS:
        raise invalid(LAST_ID, "This is not the id of an event.", "invalid")
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(milliseconds=milliseconds)


class EventStream:
    """A stream's messages as `text/event-stream`. It is closed, sent or not."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"retry: %d\n\n" % RECONNECT_MS
            async for message in self.stream.messages():
                yield as_event(message) if message else b":\n\n"
        finally:
            self.close()

    def close(self) -> None:
        self.stream.release()


def as_event(message: Message) -> bytes:
    """Only events have an `id:` line, so that `Last-Event-ID` is always an event's."""
    lines = [f"id: {message.event_id}"] if message.event_id else []
    return "\n".join([*lines, f"event: {message.type}", f"data: {message.text}", "", ""]).encode()
