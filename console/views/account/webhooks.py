"""A webhook, and the log of what was sent to it."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from console.pages import PersonalPage
from notifications.api.serializers import AttemptSerializer, DeliveriesQuerySerializer
from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from objectvision.api.fields import number_in

ON_PAGE = 20
MOST_DIGITS = 4  # of a page
SOON = timedelta(minutes=1)


class WebhookPage(PersonalPage):
    """Its settings and its log; those of other users are 404, as in the API."""

    template = "webhook"

    def get(self, _request: HttpRequest, pk: UUID) -> HttpResponseBase:
        webhook = self.webhook(pk)
        return self.render(f"account/{self.template}", **self.context(webhook))

    def webhook(self, pk: UUID) -> WebhookEndpoint:
        """Raises Http404."""
        return get_object_or_404(WebhookEndpoint.objects.owned_by(self.user), pk=pk)

    def context(self, webhook: WebhookEndpoint) -> dict[str, Any]:
        return {
            "section": "account",
            "webhook": webhook,
            "event_types": Event.Type.values,
            **self.log_of(webhook),
        }

    def log_of(self, webhook: WebhookEndpoint) -> dict[str, Any]:
        """One page of the log, chosen by `state` and `page` of the query string."""
        state, page = self.chosen_state(), self.chosen_page()
        rows = webhook.deliveries.for_list()
        if state:
            rows = rows.filter(state=state)
        begin = (page - 1) * ON_PAGE
        found = list(rows[begin : begin + ON_PAGE + 1])
        shown = found[:ON_PAGE]
        return {
            "deliveries": shown,
            "state": state,
            "states": WebhookDelivery.State.values,
            "page": page,
            "has_older": len(found) > ON_PAGE,
            "is_under_way": any(is_due_soon(delivery) for delivery in shown),
        }

    def chosen_state(self) -> str:
        """Empty where the address names none, or one that is not known."""
        query = DeliveriesQuerySerializer(data={"state": self.request.GET.get("state", "")})
        return str(query.validated_data["state"]) if query.is_valid() else ""

    def chosen_page(self) -> int:
        return max(1, number_in(self.request.GET.get("page", ""), MOST_DIGITS))


class WebhookStatePart(WebhookPage):
    template = "webhook_state"


class WebhookLogPart(WebhookPage):
    template = "webhook_log"


class DeliveryPage(WebhookPage):
    """All that was sent and answered."""

    template = "delivery"

    def get(self, _request: HttpRequest, pk: UUID, delivery_id: UUID) -> HttpResponseBase:  # type: ignore[override]  # one more
        webhook = self.webhook(pk)
        delivery = get_object_or_404(webhook.deliveries.all(), pk=delivery_id)
        return self.render(
            f"account/{self.template}",
            section="account",
            webhook=webhook,
            delivery=delivery,
            sent=indented(delivery.request.get("body", "")),
            sent_headers=pairs(delivery.request.get("headers", {})),
            answers=answers_of(delivery),
        )


class DeliveryPart(DeliveryPage):
    template = "delivery_part"


def is_due_soon(delivery: WebhookDelivery) -> bool:
    """Whether it is worth looking again in a moment."""
    return delivery.is_under_way and delivery.next_at < timezone.now() + SOON


def answers_of(delivery: WebhookDelivery) -> list[dict[str, Any]]:
    """What came back, the latest first."""
    answers = AttemptSerializer(delivery.response, many=True).data
    return [
        {**answer, "at": parse_datetime(answer["at"] or ""), "headers": pairs(answer["headers"])}
        for answer in reversed(answers)
    ]


def pairs(headers: dict[str, str]) -> list[tuple[str, str]]:
    """For templates, where `headers.items` is the header of that name, if there is one."""
    return list(headers.items())


def indented(body: str) -> str:
    """JSON of ours in lines; the text as it is before anything was sent."""
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False) if body else body
