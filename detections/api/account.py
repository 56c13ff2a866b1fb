"""What detections know of an account: statistics, and everything of the account as a ZIP."""

from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.api.permissions import check_scope
from accounts.api.serializers import (
    ApiKeySerializer,
    SessionSerializer,
    UserSerializer,
    UserSettingsSerializer,
)
from accounts.models import ApiKey, Scope
from detections import reports
from detections.api import takeout
from detections.api.serializers import PeriodSerializer, StatisticsSerializer
from detections.api.streaming import RequestStream
from detections.caching import Question, kept
from notifications.api.serializers import WebhookSerializer
from notifications.models import WebhookEndpoint
from objectvision.api.negotiation import OneForm
from objectvision.api.throttles import TakeoutThrottle
from objectvision.api.views import StrictView

MOST_SESSIONS = 1000
STATISTICS_SECONDS = 10 * 60


class TakeoutView(StrictView):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT}
    throttle_classes = (TakeoutThrottle,)
    content_negotiation_class = OneForm

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        if isinstance(request.auth, ApiKey):  # the ZIP holds results, too
            check_scope(request.auth, Scope.READ)

    @extend_schema(operation_id="get_takeout", responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request) -> HttpResponseBase:
        """Everything of mine as a ZIP.

        `account.json` has your profile, your settings, your webhooks, and the sessions (the latest 1,000) and
        API keys that have not ended, without secrets. `detections` has one JSON for each detection, with its
        share links, `images` the pictures without their metadata. `missing.json` names images whose files
        cannot be read.

        The ZIP is made while it is sent, so its length is not known before. It holds results: API keys need
        the scope `read` as well.
        """
        stream = RequestStream(takeout.takeout_pieces(current_user(request), account_facts(request)))
        headers = {
            "Content-Disposition": 'attachment; filename="objectvision.zip"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(stream, content_type="application/zip", headers=headers)


def account_facts(request: Request) -> dict[str, Any]:
    user = current_user(request)
    sessions = user.sessions.alive().order_by("-created_at")[:MOST_SESSIONS]
    keys = user.api_keys.kept().order_by("created_at")
    webhooks = WebhookEndpoint.objects.owned_by(user)
    return {
        "profile": UserSerializer(user).data,
        "settings": UserSettingsSerializer(user.preferences).data,
        "sessions": SessionSerializer(sessions, many=True, context={"request": request}).data,
        "api_keys": ApiKeySerializer(keys, many=True).data,
        "webhooks": WebhookSerializer(webhooks, many=True).data,
    }


class StatisticsView(StrictView):
    key_scopes: ClassVar = {"GET": Scope.READ}
    query_serializer_class = PeriodSerializer

    @extend_schema(operation_id="get_statistics", responses=StatisticsSerializer)
    def get(self, request: Request) -> Response:
        """My statistics.

        The number of your detections, images and objects; objects by class of the model's (of added boxes
        yours), the most frequent first, by detector, and by confidence. `agreement` says for each class how
        often you agree with a detector. Detections and images by day (UTC), the latest first, without days
        that have none.
        """
        user, days = current_user(request), self.query()["days"]

        def made_statistics() -> Any:
            return StatisticsSerializer(reports.statistics(user, days)).data

        question = Question("statistics", f"{days} days to {timezone.now().date()}", STATISTICS_SECONDS)
        return Response(kept(user.pk, question, made_statistics))
