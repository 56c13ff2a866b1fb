"""Claims that lapse: a row is one worker's until it is done or the worker gone."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar
from uuid import uuid4

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

L = TypeVar("L", bound="Leased")

# Tried for one claim: so many workers may be faster.
CANDIDATES = 10


def lapsed(now: datetime, lease: timedelta) -> Q:
    """Rows whose `claimed_at` was not renewed within a lease: their worker is gone.

    Rows that are more than a lease ahead of the clock were claimed before the clock was put back.
    """
    return Q(claimed_at__lt=now - lease) | Q(claimed_at__gt=now + lease)


class LeasedQuerySet(models.QuerySet[L]):
    def claimable(self) -> Self:
        """The rows that wait for a worker, in the order of their claims."""
        raise NotImplementedError

    def claim(self) -> L | None:
        """Claim the first claimable row. None if there is none or others were faster."""
        return next((row for row in self.claimable()[:CANDIDATES] if row.take()), None)

    def release(self, *, waiting: dict[str, Any], failed: dict[str, Any]) -> list[L]:
        """End the claims of these rows: they wait again or fail after their last attempt.

        Returns the rows that failed.
        """
        with transaction.atomic():
            exhausted = list(self.filter(attempts__gte=self.model.MOST_ATTEMPTS).select_for_update())
            self.filter(pk__in=[row.pk for row in exhausted]).update(claim=None, **failed)
            self.update(claim=None, **waiting)
        for row in exhausted:
            vars(row).update(claim=None, **failed)
        return exhausted


class Leased(models.Model):
    """A row that workers claim one at a time.

    A worker's values are saved only while its claim is there.
    """

    MOST_ATTEMPTS: ClassVar[int]

    claim = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    objects: Any  # declared by each subclass

    class Meta:
        abstract = True

    def take(self) -> bool:
        """Claim this row. False if another worker was faster."""
        self.claim = uuid4()
        taken = type(self).objects.claimable().filter(pk=self.pk)
        if not taken.update(
            claim=self.claim,
            claimed_at=timezone.now(),
            attempts=F("attempts") + 1,
            **self.values_of_claimed(),
        ):
            return False
        self.attempts += 1
        return True

    def values_of_claimed(self) -> dict[str, Any]:
        """Values to save together with a claim."""
        raise NotImplementedError

    def update_claimed(self, **values: Any) -> bool:
        """Save these values. False, and nothing saved, if the claim was taken away."""
        return bool(type(self).objects.filter(pk=self.pk, claim=self.claim).update(**values))
