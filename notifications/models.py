from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import uuid4

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from objectvision.ids import uuid7

NAME_LENGTH = 150
ERROR_LENGTH = 300


class MailQuerySet(models.QuerySet["Mail"]):
    def due(self) -> Self:
        return self.filter(state=Mail.State.WAITING, due_at__lte=timezone.now())

    def claim(self) -> "Mail | None":
        """Take the one that has been due for longest. None if none is, or others are faster each time."""
        for mail in self.due().order_by("due_at", "pk")[:10]:
            if mail.take():
                return mail
        return None

    def lapsed(self) -> Self:
        """Taken by a worker that is gone by now."""
        return self.filter(state=Mail.State.SENDING, claimed_at__lt=timezone.now() - Mail.LEASE)

    def release_lapsed(self) -> None:
        """Let them wait again; fail those that have had all of their attempts."""
        error = "The worker that was sending it has not come back."
        lapsed = self.lapsed()
        lapsed.filter(attempts__gte=Mail.MOST_ATTEMPTS).update(
            state=Mail.State.FAILED, claim=None, error=error
        )
        lapsed.update(state=Mail.State.WAITING, claim=None, error=error)

    def like(self, mail: "Mail") -> Self:
        """Those that its bound counts, itself among them."""
        return self.filter(
            to=mail.to,
            kind=mail.kind,
            by_stranger=mail.by_stranger,
            created_at__gt=timezone.now() - Mail.WINDOW,
        )

    def wait_again(self) -> int:
        """Those that have failed, as if never tried. How many."""
        failed = self.filter(state=Mail.State.FAILED)
        return failed.update(state=Mail.State.WAITING, attempts=0, due_at=timezone.now(), error="")

    def forgotten(self) -> Self:
        """Those of which nobody asks any longer what became of them."""
        now = timezone.now()
        dropped = Q(state=Mail.State.DROPPED, created_at__lt=now - Mail.DROPPED_KEPT)
        ended = Q(state__in=(Mail.State.SENT, Mail.State.FAILED), created_at__lt=now - Mail.KEPT)
        return self.filter(dropped | ended)


class Mail(models.Model):
    """A mail to one address, and its place in the queue: `waiting → sending → sent | failed | dropped`.

    It belongs to no user, since some mails outlive theirs. It holds no secret: links are made as it is sent.
    It begins as dropped, and waits once the bound of its address has admitted it.
    """

    class Kind(models.TextChoices):
        WELCOME = "welcome"
        VERIFY_EMAIL = "verify_email"
        PASSWORD_RESET = "password_reset"  # noqa: S105  # no password
        PASSWORD_CHANGED = "password_changed"  # noqa: S105  # as above
        ACCOUNT_DELETED = "account_deleted"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"

    MOST = 3
    """Of one kind to one address within the window."""
    WINDOW = timedelta(hours=1)
    # Several times what sending may take, and less than the 15 minutes for which Brevo remembers a key.
    LEASE = timedelta(minutes=2)
    DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 480, 720))
    """After each failed attempt; the one after the last is the end."""
    MOST_ATTEMPTS = len(DELAYS) + 1
    KEPT = timedelta(days=30)
    DROPPED_KEPT = timedelta(days=1)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=20, choices=Kind)
    to = models.EmailField()
    name = models.CharField(max_length=NAME_LENGTH, blank=True)
    by_stranger = models.BooleanField(
        default=False, help_text="Asked for by somebody who may be anybody; counted by itself."
    )
    state = models.CharField(max_length=10, choices=State, default=State.DROPPED)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    claim = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
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
        """When its address has room for another one like it; None if it has room for this one."""
        # All that are there are counted, not those before this one alone: of several at once, whoever looks
        # last sees all, so that no more than the bound are admitted.
        newest = Mail.objects.like(self).order_by("-created_at")[: self.MOST + 1]
        times = list(newest.values_list("created_at", flat=True))
        return times[self.MOST] + self.WINDOW if len(times) > self.MOST else None

    def admit(self) -> None:
        Mail.objects.filter(pk=self.pk).update(state=self.State.WAITING)

    def take(self) -> bool:
        """Claim it. False if another worker was faster."""
        self.claim = uuid4()
        taken = Mail.objects.due().filter(pk=self.pk)
        if not taken.update(
            state=self.State.SENDING,
            claim=self.claim,
            claimed_at=timezone.now(),
            attempts=F("attempts") + 1,
        ):
            return False
        self.attempts += 1
        return True

    def end(self, state: State, **values: Any) -> None:
        """Nothing happens if its claim was taken away meanwhile."""
        Mail.objects.filter(pk=self.pk, claim=self.claim).update(state=state, claim=None, **values)

    def sent(self) -> None:
        self.end(self.State.SENT, sent_at=timezone.now(), error="")

    def drop(self) -> None:
        self.end(self.State.DROPPED)

    def fail(self, error: str) -> None:
        self.end(self.State.FAILED, error=error[:ERROR_LENGTH])

    def put_off(self, error: str, at_least: timedelta = timedelta()) -> None:
        """Try again later, and no sooner than after `at_least`; or fail, if this was the last attempt."""
        if self.attempts >= self.MOST_ATTEMPTS:
            self.fail(error)
            return
        delay = max(self.DELAYS[self.attempts - 1], min(at_least, self.DELAYS[-1]))
        self.end(self.State.WAITING, due_at=timezone.now() + delay, error=error[:ERROR_LENGTH])
