"""Log-in by password, with a bound on wrong tries for each account.

They are counted in the database, which holds even where the cache is away, and alike for addresses without an
account, so that the answer does not tell which those are.
"""

import random
import time

from django.contrib.auth import authenticate
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import FailedLogin, User
from objectvision import connections

LOOKS = 50
LOOK_SECONDS = 0.1


class TooManyTriesError(Exception):
    """The account has had its wrong tries; the next one may come in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Too many wrong tries; try again in {wait:.0f} seconds.")
        self.wait = wait


def log_in(request: HttpRequest | None, email: str, password: str) -> User | None:
    """Whose address and password these are; None if nobody's. Raises TooManyTriesError."""
    this = begin(email)
    # Hashes for an unknown address too, so that the time tells nothing.
    user = authenticate(request, email=email, password=password)
    if not isinstance(user, User):
        FailedLogin.objects.filter(pk=this.pk).update(checked=True)
        return None
    # Those that are still being checked may turn out wrong: they stay.
    FailedLogin.objects.of(email).filter(Q(checked=True) | Q(pk=this.pk)).delete()
    return user


def begin(email: str) -> FailedLogin:
    """A place among the account's tries. While others that are being checked hold the last ones, waits for
    them: they may be right."""
    for _ in range(LOOKS):
        this = FailedLogin.objects.create(account=FailedLogin.account_of(email))
        # Written before it is looked for: of many at once, whoever looks last sees all the others.
        tries = list(FailedLogin.objects.of(email).recent().order_by("-at", "-pk")[: FailedLogin.MOST + 1])
        if len(tries) <= FailedLogin.MOST:
            return this
        this.delete()  # a try that was not made is none
        if FailedLogin.objects.of(email).wrong().count() >= FailedLogin.MOST:
            break
        connections.give_back()
        time.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # so that not all look at once
    raise TooManyTriesError((tries[-1].at + FailedLogin.WINDOW - timezone.now()).total_seconds())
