from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from objectvision.lib import leases, metrics

ERROR_LENGTH = 300


class MailQuerySet(leases.LeasedQuerySet["Mail"]):
    def due(self) -> Self:
        return self.filter(state=Mail.State.WAITING, due_at__lte=timezone.now())

    def claimable(self) -> Self:
        return self.due().order_by("due_at", "pk")

    def release_lapsed(self) -> None:
        """Let mails whose worker is gone wait again; fail the ones that have had all of their attempts."""
        error = "The worker that was sending it has not come back."
        self.filter(leases.lapsed(timezone.now(), Mail.LEASE), state=Mail.State.SENDING).release(
            waiting={"state": Mail.State.WAITING, "error": error},
            failed={"state": Mail.State.FAILED, "error": error},
        )

    def counted_with(self, mail: "Mail") -> Self:
        """The mails that count towards this one's limit, itself included."""
        return self.filter(
            to=mail.to,
            kind=mail.kind,
            by_stranger=mail.by_stranger,
            created_at__gt=timezone.now() - Mail.WINDOW,
        )

    def wait_again(self) -> int:
        """Let failed mails wait as if never tried. How many."""
        failed = self.filter(state=Mail.State.FAILED)
        return failed.update(state=Mail.State.WAITING, attempts=0, due_at=timezone.now(), error="")

    def outdated(self) -> Self:
        """The mails whose rows are kept no longer."""
        now = timezone.now()
        dropped = Q(state=Mail.State.DROPPED, created_at__lt=now - Mail.DROPPED_KEPT)
        ended = Q(state__in=(Mail.State.SENT, Mail.State.FAILED), created_at__lt=now - Mail.KEPT)
        return self.filter(dropped | ended)


class Mail(leases.Leased):
    """A mail to one address and its state in the queue: `waiting → sending → sent | failed | dropped`.

    It belongs to no user, since some mails outlive theirs. It holds no secret: links are made as it is sent.
    It begins as dropped, and waits once the limit of its address has admitted it.
    """

    class Kind(models.TextChoices):
        WELCOME = "welcome"
        VERIFY_EMAIL = "verify_email"
        PASSWORD_RESET = "password_reset"  # noqa: S105  # no password
        PASSWORD_CHANGED = "password_changed"  # noqa: S105  # as above
        ACCOUNT_DELETED = "account_deleted"
        WEBHOOK_DISABLED = "webhook_disabled"
        DETECTION_APPROVED = "detection_approved"
        DETECTION_REJECTED = "detection_rejected"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"

    MAX_PER_WINDOW = 3
    """Mails of one kind to one address."""
    WINDOW = timedelta(hours=1)
    # Several times as long as sending may take, and less than the 15 minutes for which Brevo remembers a key.
    LEASE = timedelta(minutes=2)
    DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 480, 720))
    """After each failed attempt. The attempt after the last delay is the last one."""
    MOST_ATTEMPTS = len(DELAYS) + 1
    KEPT = timedelta(days=30)
    DROPPED_KEPT = timedelta(days=1)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=20, choices=Kind)
    to = models.EmailField()
    data = models.JSONField(null=True, blank=True, help_text="What its template needs of this very mail.")
    by_stranger = models.BooleanField(
        default=False, help_text="An anonymous client asked for it; counted separately."
    )
    state = models.CharField(max_length=10, choices=State, default=State.DROPPED)
    due_at = models.DateTimeField(default=timezone.now)
    error = models.CharField(max_length=ERROR_LENGTH, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = MailQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["due_at", "id"], name="notifications_mail_due", condition=Q(state="waiting")
            ),
            models.Index(
                fields=["claimed_at"], name="notifications_mail_sending", condition=Q(state="sending")
            ),
            models.Index(fields=["to", "kind", "created_at"], name="notifications_mail_like"),
            models.Index(fields=["created_at"], name="notifications_mail_created"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"

    def free_at(self) -> datetime | None:
        """When the address may be mailed like this again; None if this mail is within the limit."""
        # Counts later mails too: of several at once the one that counts last sees all, so the limit holds.
        newest = Mail.objects.counted_with(self).order_by("-created_at")[: self.MAX_PER_WINDOW + 1]
        times = list(newest.values_list("created_at", flat=True))
        return times[self.MAX_PER_WINDOW] + self.WINDOW if len(times) > self.MAX_PER_WINDOW else None

    def admit(self) -> None:
        Mail.objects.filter(pk=self.pk).update(state=self.State.WAITING)

    def values_of_claimed(self) -> dict[str, Any]:
        return {"state": self.State.SENDING}

    def end(self, state: State, **values: Any) -> None:
        """Nothing happens if its claim was taken away meanwhile."""
        if self.update_claimed(state=state, claim=None, **values):
            metrics.MAILS.labels("deferred" if state == self.State.WAITING else state).inc()

    def sent(self) -> None:
        self.end(self.State.SENT, sent_at=timezone.now(), error="")

    def drop(self) -> None:
        self.end(self.State.DROPPED)

    def fail(self, error: str) -> None:
        self.end(self.State.FAILED, error=error[:ERROR_LENGTH])

    def put_off(self, error: str, at_least: timedelta = timedelta()) -> None:
        """Try again later, no sooner than after `at_least`; fail if this was the last attempt."""
        if self.attempts >= self.MOST_ATTEMPTS:
            self.fail(error)
            return
        delay = max(self.DELAYS[self.attempts - 1], min(at_least, self.DELAYS[-1]))
        self.end(self.State.WAITING, due_at=timezone.now() + delay, error=error[:ERROR_LENGTH])
