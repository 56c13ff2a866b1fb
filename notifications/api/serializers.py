from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from notifications.api import examples
from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from notifications.models.webhooks import DESCRIPTION_LENGTH, URL_LENGTH
from notifications.webhooks.destinations import UrlError, check_destination, parse_url
from objectvision.api.errors import invalid
from objectvision.api.examples import answered, sent
from objectvision.api.fields import QuerySerializer, TextField, TruthField
from objectvision.api.serializers import StrictSerializer

ALL = WebhookEndpoint.ALL
EVENT_TYPES = [ALL, *Event.Type.values]
MOST_TYPES = 50
LONGEST_SHOWN = 50


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "enum": EVENT_TYPES},
        "minItems": 1,
        "maxItems": MOST_TYPES,
    }
)
class EventTypesField(serializers.Field[list[str], Any, Any, Any]):
    """Each type once; `*` alone where it is among them. The text `*` is taken as well."""

    default_error_messages: ClassVar = {
        "invalid": "Must be a list of types of events, or *.",
        "empty": "Name one type of events at least, or * for all.",
        "max_length": f"Must have at most {MOST_TYPES} items.",
        "unknown_type": f"There is no type of events {{name}}; there are {', '.join(EVENT_TYPES)}.",
    }

    def to_internal_value(self, data: Any) -> list[str]:
        types = [data] if data == ALL else data
        if not isinstance(types, list) or not all(isinstance(name, str) for name in types):
            self.fail("invalid")
        if not types:
            self.fail("empty")
        if len(types) > MOST_TYPES:
            self.fail("max_length")
        if unknown := [name for name in types if name not in EVENT_TYPES]:
            self.fail("unknown_type", name=repr(unknown[0][:LONGEST_SHOWN]))
        return [ALL] if ALL in types else list(dict.fromkeys(types))

    def to_representation(self, value: list[str]) -> list[str]:
        return value


@extend_schema_serializer(
    examples=[answered(examples.WEBHOOK), sent(examples.REQUEST)],
)
class WebhookSerializer(StrictSerializer, serializers.ModelSerializer[WebhookEndpoint]):
    url = TextField(
        max_length=URL_LENGTH,
        help_text="`https` or `http`, of a public address; no user name, password or fragment.",
    )
    events = EventTypesField(
        default=lambda: [ALL], help_text="The types of events to send; `*`, the default: all."
    )
    description = TextField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)
    is_active = TruthField(
        required=False,
        help_text="Whether events are sent. Set it to go on after it was disabled.",
    )
    disabled_reason = serializers.CharField(
        read_only=True, help_text="Why it was disabled; empty unless the server disabled it."
    )

    class Meta:
        model = WebhookEndpoint
        fields = (
            "id", "url", "events", "description", "is_active", "disabled_reason", "failing_since",
            "created_at",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = ("id", "failing_since", "created_at")

    def validate_url(self, url: str) -> str:
        try:
            parse_url(url)
        except UrlError as error:
            raise serializers.ValidationError(error.message, error.code) from error
        return url

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Looks the host up, once all fields are right. No database connection is held meanwhile."""
        if "url" in attrs:
            try:
                check_destination(attrs["url"])
            except UrlError as error:
                raise invalid("url", error.message, error.code) from error
        return attrs


@extend_schema_serializer(examples=[sent(examples.CHANGE)])
class WebhookChangeSerializer(WebhookSerializer):
    pass


@extend_schema_serializer(examples=[answered(examples.WITH_SECRET)])
class WebhookWithSecretSerializer(WebhookSerializer):
    secret = serializers.CharField(read_only=True, help_text="Signs what is sent. Shown this once.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")  # type: ignore[assignment]  # one more


class DeliveriesQuerySerializer(QuerySerializer):
    """Which deliveries are listed."""

    state = serializers.ChoiceField(
        WebhookDelivery.State.choices, required=False, help_text="Only deliveries in this state."
    )


@extend_schema_serializer(
    examples=[answered(examples.DELIVERY, 200), answered(examples.WAITING, 202)],
)
class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    event_id = serializers.UUIDField(
        source="event",
        read_only=True,
        help_text="The `webhook-id` of the requests, the same at all attempts.",
    )
    type = serializers.CharField(read_only=True, help_text="The type of the event, or `ping`.")
    next_at = serializers.SerializerMethodField(help_text="The next attempt; null once it has ended.")
    error = serializers.CharField(read_only=True, help_text="Why the last attempt failed.")

    class Meta:
        model = WebhookDelivery
        fields: tuple[str, ...] = (
            "id", "event_id", "type", "state", "attempts", "next_at", "status_code", "error", "duration_ms",
            "created_at", "delivered_at",
        )  # fmt: skip  # a list to read at a glance
        read_only_fields = fields

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_at(self, delivery: WebhookDelivery) -> Any:
        moment = delivery.next_at if delivery.is_under_way else None
        return moment and serializers.DateTimeField().to_representation(moment)


class SentRequestSerializer(serializers.Serializer[Any]):
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()


class AttemptSerializer(serializers.Serializer[Any]):
    """What came back at one attempt: no answer at all leaves only the time and the error."""

    at = serializers.DateTimeField(allow_null=True)
    status_code = serializers.IntegerField(default=None, allow_null=True)
    error = serializers.CharField(help_text="Why it failed; empty if it did not.")
    duration_ms = serializers.IntegerField(default=None, allow_null=True)
    headers = serializers.DictField(child=serializers.CharField(), default=dict)
    body = serializers.CharField(default="", help_text="At most 64 kB.")
    truncated = serializers.BooleanField(default=False, help_text="Whether the answer had more than `body`.")


@extend_schema_serializer(examples=[answered(examples.FULL_DELIVERY)])
class FullDeliverySerializer(DeliverySerializer):
    request = serializers.SerializerMethodField(
        help_text="What the last attempt sent; null before the first."
    )
    responses = AttemptSerializer(
        source="response", many=True, read_only=True, help_text="Of the last attempts, the latest at the end."
    )

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "request", "responses")

    @extend_schema_field(SentRequestSerializer(allow_null=True))
    def get_request(self, delivery: WebhookDelivery) -> dict[str, Any] | None:
        return delivery.request or None


@extend_schema_serializer(examples=[sent(examples.PERIOD)])
class PeriodSerializer(StrictSerializer):
    since = serializers.DateTimeField(help_text="Deliveries that were made then or later.")
    until = serializers.DateTimeField(
        required=False, help_text="And at this time at the latest; default: now."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("until", timezone.now())
        if attrs["since"] > attrs["until"]:
            raise invalid("since", "Must not be later than until, which is now by default.", "invalid")
        return attrs


@extend_schema_serializer(examples=[answered({"count": 12}, 202)])
class ReplayedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(min_value=0, help_text="How many deliveries are sent again.")
