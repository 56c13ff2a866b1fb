"""The one form of every 4xx and 5xx: `{"type", "errors": [{"code", "detail", "attr"}]}`."""

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import (
    ObjectDoesNotExist,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
    ValidationError,
)
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from drf_standardized_errors.handler import ExceptionHandler as StandardExceptionHandler
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from objectvision import connections
from objectvision.throttles import AnonThrottle

log = logging.getLogger(__name__)


class RequestTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The request is too large."


class Unavailable(exceptions.APIException):
    """Something that this answer needs is away for the moment. The caller may try again in `wait` seconds."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "The service is unavailable for the moment; try again shortly."
    wait = 5


class AccountClosed(exceptions.AuthenticationFailed):
    """Whoever asks was somebody as the request began, and is nobody by now."""

    default_detail = "The account is closed."


def invalid(field: str, message: str, code: str) -> exceptions.ValidationError:
    return exceptions.ValidationError({field: [exceptions.ErrorDetail(message, code)]})


class ExceptionHandler(StandardExceptionHandler):
    def convert_known_exceptions(self, exc: Exception) -> Exception:  # noqa: C901, PLR0911  # a table
        match exc:
            case RequestDataTooBig():
                return RequestTooLarge()
            case TooManyFilesSent():
                return exceptions.ValidationError("The request has too many files.", "too_many_files")
            case TooManyFieldsSent():
                return exceptions.ValidationError("The request has too many fields.", "too_many_fields")
            case SuspiciousOperation() | RecursionError() | UnicodeError():
                return exceptions.ParseError("The request is malformed.")
            case ValidationError():
                return exceptions.ValidationError(exc.messages, exc.code)
            case exceptions.AuthenticationFailed() | exceptions.NotAuthenticated():
                return counted(exc, self.context["request"])
            case OperationalError() | InterfaceError():
                connections.drop_broken()
                return Unavailable()
            case DatabaseError() | ObjectDoesNotExist() if self.caller_is_gone():
                return self.challenged(AccountClosed())
        return super().convert_known_exceptions(exc)

    def caller_is_gone(self) -> bool:
        """Whether the account that asks was closed while it did: whatever refers to its row misses it."""
        # Not `user`, which would ask again who it is, if that is what has failed.
        user = getattr(self.context["request"], "_user", None)
        users = get_user_model().objects.filter(is_active=True)
        return user is not None and user.is_authenticated and not users.filter(pk=user.pk).exists()

    def challenged(self, exc: exceptions.AuthenticationFailed) -> exceptions.AuthenticationFailed:
        """With the header of a 401, which DRF gives to those alone that are one before they come here."""
        request: Any = self.context["request"]
        exc.auth_header = self.context["view"].get_authenticate_header(request)  # type: ignore[attr-defined]  # DRF's
        return exc

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        if isinstance(self.exc, Unavailable):  # a known state, not a fault to be traced
            log.warning("%s", exc.detail)
        else:
            super().report_exception(exc, response)


def counted(exc: exceptions.APIException, request: Request | None) -> exceptions.APIException:
    """Who was not let in counts among the strangers of that address: DRF's throttles never see such a
    request, which ends before them."""
    throttle = AnonThrottle()
    return exc if request is None or throttle.admits(request) else exceptions.Throttled(throttle.wait())


def body(code: str, detail: str, *, kind: str = "client_error") -> dict[str, Any]:
    return {"type": kind, "errors": [{"code": code, "detail": detail, "attr": None}]}


# What Django answers outside the API's views (`handler400` and so on in urls).


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:  # noqa: ARG001  # Django's signature
    return JsonResponse(body("parse_error", "The request is malformed."), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> JsonResponse:  # noqa: ARG001  # as above
    return JsonResponse(body("permission_denied", "You may not do this."), status=403)


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:  # noqa: ARG001  # as above
    return JsonResponse(body("not_found", "Not found."), status=404)


def server_error(request: HttpRequest) -> JsonResponse:  # noqa: ARG001  # as above
    return JsonResponse(body("error", "Server Error (500)", kind="server_error"), status=500)
