"""The account and the credential behind a request. For views that let no anonymous client in."""

from contextlib import AbstractContextManager
from typing import NoReturn, cast

from rest_framework.request import Request

from accounts import login_attempts
from accounts.models import ApiKey, Session, User
from objectvision.api.errors import invalid


def current_user(request: Request) -> User:
    return cast(User, request.user)


def current_credential(request: Request) -> Session | ApiKey:
    return cast(Session | ApiKey, request.auth)


def current_session(request: Request) -> Session:
    """For views without key scopes, which no API key opens."""
    return cast(Session, request.auth)


def account_locked(request: Request) -> AbstractContextManager[User]:
    """For changes of the account; raises AuthenticationFailed if the request's session or key has ended."""
    return current_user(request).locked(current_credential(request))


def confirm_password(request: Request, field: str, password: str) -> User:
    """The caller's row, if the password in this field is right. Raises ValidationError, TooManyAttempts.

    Wrong ones count with wrong log-ins, so that a stolen token does not help to find the password.
    """
    return login_attempts.confirm_password(current_user(request), password) or refuse_password(field)


def refuse_password(field: str) -> NoReturn:
    raise invalid(field, "The password is wrong.", "wrong_password")
