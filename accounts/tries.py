"""Log-in by password, with a bound on wrong tries for each account.

They are counted in the database, which holds even where the cache is away, and alike for addresses without an
account, so that the answer does not tell which those are.
"""

from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import FailedLogin, User


class TooManyTriesError(Exception):
    """The account has had its wrong tries; the next one may come in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Too many wrong tries; try again in {wait:.0f} seconds.")
        self.wait = wait


def log_in(request: HttpRequest | None, email: str, password: str) -> User | None:
    """Whose address and password these are; None if nobody's. Raises TooManyTriesError."""
    # Written before the password is looked at: of many tries at once, each sees those that came before it.
    this = FailedLogin.objects.create(account=FailedLogin.account_of(email))
    failed = FailedLogin.objects.of(email)
    tries = list(failed.recent().order_by("-at", "-pk")[: FailedLogin.MOST + 1])
    if len(tries) > FailedLogin.MOST:
        this.delete()  # a try that was not made is none
        raise TooManyTriesError((tries[-1].at + FailedLogin.WINDOW - timezone.now()).total_seconds())
    # Hashes for an unknown address too, so that the time tells nothing.
    user = authenticate(request, email=email, password=password)
    if not isinstance(user, User):
        return None
    failed.delete()
    return user
