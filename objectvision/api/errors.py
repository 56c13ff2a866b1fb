"""Every 4xx and 5xx has one form: `{"type", "errors": [{"code", "detail", "attr"}]}`."""

import logging
import math
from typing import Any

from django.conf import settings
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

from objectvision.api.plain_answers import CSRF_FAILED, error_body
from objectvision.api.throttles import AnonThrottle, CountedFailure
from objectvision.lib import connections
from objectvision.lib.limits import DISK_FULL, Busy, TooMany

log = logging.getLogger(__name__)


class RequestTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The request is too large."


class Unavailable(exceptions.APIException):
    """A service behind this one does not answer. Clients may try again after `wait` seconds."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "The service is unavailable for the moment; try again shortly."
    wait = 5


class AccountClosed(exceptions.AuthenticationFailed):
    """The account was closed while this request ran."""

    default_detail = "The account is closed."

    def __init__(self, challenge: str | None) -> None:
        super().__init__()
        self.auth_header = challenge  # DRF sets it only on exceptions that are a 401 before this handler


def invalid(field: str, message: str, code: str) -> exceptions.ValidationError:
    return exceptions.ValidationError({field: [exceptions.ErrorDetail(message, code)]})


def oversized_form(parts: str, limit: int) -> exceptions.ParseError:
    return exceptions.ParseError(f"The request has over {limit} {parts}.", f"too_many_{parts}")


class ExceptionHandler(StandardExceptionHandler):
    def convert_known_exceptions(self, exc: Exception) -> Exception:  # noqa: C901, PLR0911  # a table
        match exc:
            case RequestDataTooBig():
                return RequestTooLarge()
            case TooManyFilesSent():
                return oversized_form("files", settings.DATA_UPLOAD_MAX_NUMBER_FILES)
            case TooManyFieldsSent():
                return oversized_form("fields", settings.DATA_UPLOAD_MAX_NUMBER_FIELDS)
            case SuspiciousOperation() | RecursionError() | UnicodeError():
                return exceptions.ParseError("The request is malformed.")
            case ValidationError():
                return exceptions.ValidationError(exc.messages, exc.code)
            case CountedFailure():
                return exc
            case exceptions.AuthenticationFailed() | exceptions.NotAuthenticated():
                return count_refusal(exc, self.context["request"])
            case TooMany():
                return exceptions.Throttled(exc.retry_after, str(exc))
            case Busy():
                return Unavailable(str(exc), "busy")
            case OperationalError() | InterfaceError():
                connections.drop_broken()
                return Unavailable()
            case OSError(errno=number) if number in DISK_FULL:
                log.error("No file can be written: %s", exc)
                return Unavailable()
            case DatabaseError() | ObjectDoesNotExist() if self.account_is_closed():
                return AccountClosed(self.challenge())
        return super().convert_known_exceptions(exc)

    def format_exception(self, exc: exceptions.APIException) -> dict[str, Any]:
        """Lone surrogates, which JSON can spell and UTF-8 cannot, become question marks."""
        data: dict[str, Any] = super().format_exception(exc)
        for error in data["errors"]:
            for name in ("detail", "attr"):
                error[name] = error[name] and error[name].encode("utf-8", "replace").decode()
        return data

    def account_is_closed(self) -> bool:
        """Whether the request's account was closed since it was authenticated."""
        request: Any = self.context["request"]
        request.authenticators = ()  # an authentication that has failed is not tried a second time
        users = get_user_model().objects.filter(is_active=True)
        return request.user.is_authenticated and not users.filter(pk=request.user.pk).exists()

    def challenge(self) -> str | None:
        request: Any = self.context["request"]
        return self.context["view"].get_authenticate_header(request)

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        if isinstance(exc, Unavailable):  # a known state needs no traceback
            log.warning("%s (%s)", exc.detail, type(self.exc).__name__)
        else:
            super().report_exception(exc, response)


def count_refusal(exc: exceptions.APIException, request: Request | None) -> exceptions.APIException:
    """Counts a refused credential as an anonymous request: DRF refuses it before any throttle runs."""
    throttle = AnonThrottle()
    return exc if request is None or throttle.admits(request) else exceptions.Throttled(throttle.wait())


# Django's answers outside the API's views (`handler400` and the others in objectvision.urls).


def bad_request(_request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
    return JsonResponse(error_body("parse_error", "The request is malformed."), status=400)


def permission_denied(_request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
    return JsonResponse(error_body("permission_denied", "You may not do this."), status=403)


def csrf_failed(_request: HttpRequest) -> JsonResponse:
    return JsonResponse(error_body("csrf_failed", CSRF_FAILED), status=403)


def not_found(_request: HttpRequest, *_: Any, **__: Any) -> JsonResponse:
    return JsonResponse(error_body("not_found", "Not found."), status=404)


def too_many(wait: float) -> JsonResponse:
    """A 429 for requests that no view of the API answers."""
    answer = JsonResponse(error_body("throttled", "Too many requests."), status=429)
    answer["Retry-After"] = str(math.ceil(wait))
    return answer


def server_error(_request: HttpRequest) -> JsonResponse:
    return JsonResponse(error_body("error", "Server Error (500)", kind="server_error"), status=500)
