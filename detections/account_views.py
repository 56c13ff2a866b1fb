"""What of an account is made of detections: its end, and everything of it as a ZIP."""

from collections.abc import AsyncIterator, Generator
from time import monotonic
from typing import Any, ClassVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import closing
from accounts.models import Scope
from accounts.serializers import (
    ApiKeySerializer,
    PasswordSerializer,
    SessionSerializer,
    UserSerializer,
    UserSettingsSerializer,
)
from accounts.views import UserView, check_password, me
from detections import cleanup, takeout
from objectvision.errors import AccountClosed
from objectvision.negotiation import OneForm
from objectvision.throttles import TakeoutThrottle

MOST_SESSIONS = 1000


@extend_validation_errors(["wrong_password"], "password")
class AccountView(UserView):
    http_method_names = (*UserView.http_method_names, "delete")
    delete_takes_body = True

    @extend_schema(
        operation_id="delete_user",
        summary="Delete my account",
        description=(
            "Asks for the password. Sessions and keys end at once, and rows and files are gone; where there "
            "are very many, the last of them follow within minutes."
        ),
        request=PasswordSerializer,
        responses={204: None},
    )
    def delete(self, request: Request, pk: UUID) -> Response:  # noqa: ARG002  # DRF's signature
        user = self.get_object()
        serializer = PasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        check_password(request, "password", serializer.validated_data["password"])
        if not closing.close(user):
            raise AccountClosed
        cleanup.erase(user, monotonic() + cleanup.ERASING_SECONDS)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TakeoutView(APIView):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT}
    throttle_classes = (TakeoutThrottle,)
    content_negotiation_class = OneForm

    @extend_schema(
        operation_id="get_takeout",
        summary="Everything of mine as a ZIP",
        description=(
            "`account.json` has profile, settings, and the sessions (the latest "
            f"{MOST_SESSIONS}) and API keys that are not over, without their secrets; `detections` a JSON "
            "for each; `images` the pictures, without their metadata. It is made while it is sent, so its "
            "length is not known before. `missing.json` names images whose files cannot be read."
        ),
        responses={(200, "application/zip"): OpenApiTypes.BINARY},
        tags=["users"],
    )
    def get(self, request: Request) -> HttpResponseBase:
        pieces = takeout.pieces(me(request), about(request))
        headers = {
            "Content-Disposition": 'attachment; filename="objectvision.zip"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(in_thread(pieces), content_type="application/zip", headers=headers)


def about(request: Request) -> dict[str, Any]:
    user = me(request)
    sessions = user.sessions.alive().order_by("-created_at")[:MOST_SESSIONS]
    keys = user.api_keys.kept().order_by("created_at")
    return {
        "profile": UserSerializer(user).data,
        "settings": UserSettingsSerializer(user.preferences).data,
        "sessions": SessionSerializer(sessions, many=True, context={"request": request}).data,
        "api_keys": ApiKeySerializer(keys, many=True).data,
    }


async def in_thread(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """The same, each made in the request's thread: it asks the database."""

    def following() -> bytes | None:
        return next(pieces, None)

    try:
        while (piece := await sync_to_async(following)()) is not None:
            yield piece
    finally:
        await sync_to_async(pieces.close)()
