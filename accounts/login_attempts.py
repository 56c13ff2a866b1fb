"""Checks passwords, with a limit on wrong attempts for each account.

Attempts are counted in the database, which holds while the cache is away. Addresses without an account are
counted alike, so that the answer does not tell which ones have one.
"""

from collections.abc import Callable

from django.contrib.auth import authenticate
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import FailedLogin, User
from objectvision.lib.limits import TooMany

RETRY_SECONDS = 1
"""After a refusal for attempts that are only being checked."""


class TooManyAttempts(TooMany):
    """The account has had its attempts."""


def log_in(request: HttpRequest | None, email: str, password: str) -> User | None:
    """The user with this address and password, if there is one. Raises TooManyAttempts."""
    # It hashes for an unknown address too, so that the time does not tell.
    return count_attempt(email, lambda: authenticate(request, email=email, password=password))


def confirm_password(user: User, password: str) -> User | None:
    """The row of a user who is logged in, if the password is right. Raises TooManyAttempts."""

    def own_row() -> User | None:
        # Not by address: rows from before addresses were normalised may have another user's.
        row = User.objects.filter(pk=user.pk, is_active=True).first()
        return row if row and row.check_password(password) else None

    return count_attempt(user.email, own_row)


def count_attempt(email: str, check: Callable[[], object]) -> User | None:
    """The user that `check` returns. If it returns none, this was a wrong attempt for the address."""
    attempt = begin_attempt(email)
    user = check()
    if not isinstance(user, User):
        FailedLogin.objects.filter(pk=attempt.pk).update(checked=True)
        return None
    # Attempts that are still being checked stay: they may turn out wrong.
    FailedLogin.objects.of(email).filter(Q(checked=True) | Q(pk=attempt.pk)).delete()
    return user


def begin_attempt(email: str) -> FailedLogin:
    """The row of a new attempt. Raises TooManyAttempts."""
    attempt = FailedLogin.objects.create(account=FailedLogin.account_of(email))
    # Written before it counts: of many at once, the one that counts last sees all the others.
    recent = FailedLogin.objects.of(email).recent().order_by("-at", "-pk")
    attempts = list(recent[: FailedLogin.MAX_ATTEMPTS + 1])
    if len(attempts) <= FailedLogin.MAX_ATTEMPTS:
        return attempt
    attempt.delete()  # the password is not checked, so it does not count
    if FailedLogin.objects.of(email).wrong().count() < FailedLogin.MAX_ATTEMPTS:
        raise TooManyAttempts("Too many log-ins to this account at once.", RETRY_SECONDS)
    window_ends = attempts[-1].at + FailedLogin.WINDOW
    raise TooManyAttempts(
        "Too many wrong tries for this account.", (window_ends - timezone.now()).total_seconds()
    )
