"""Writes a mail as a row, and rings once that is committed. A worker sends it.

An address gets at most `Mail.MAX_PER_WINDOW` mails of one kind per hour, whatever causes them. Mails that
anonymous clients ask for are counted separately.
"""

from typing import Any

from django.utils import timezone

from notifications.models import Mail, MailQuerySet
from objectvision.lib import doorbell
from objectvision.lib.addresses import as_stored
from objectvision.lib.limits import TooMany

Kind = Mail.Kind


class TooManyMails(TooMany):
    """The address has had its mails."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("Too many mails to this address.", retry_after)


def queue_mail(kind: Mail.Kind, to: str, **data: Any) -> None:
    """Queue a mail that the system sends by itself. A mail past the limit is dropped.

    `data` goes into the template, and holds no secret. Mails contain no text of users: a client could sign up
    with another's address to have it sent there.
    """
    mail = Mail.objects.create(kind=kind, to=as_stored(to), data=data or None)
    if mail.free_at() is None:
        admit_mail(mail)


def queue_requested_mail(kind: Mail.Kind, to: str) -> None:
    """Queue a mail that an anonymous client asked for. Raises TooManyMails.

    It is sent only if the address has an account. Neither the answer nor its time depends on that.
    """
    mail = Mail.objects.create(kind=kind, to=as_stored(to), by_stranger=True)
    if free_at := mail.free_at():
        mail.delete()
        raise TooManyMails((free_at - timezone.now()).total_seconds())
    admit_mail(mail)


def was_mailed_lately(kind: Mail.Kind, to: str) -> bool:
    """Whether a mail of this kind that the system sends by itself is on its way to the address, or sent."""
    mails = Mail.objects.filter(kind=kind, to=as_stored(to), by_stranger=False)
    since = timezone.now() - Mail.WINDOW
    return (
        mails.filter(created_at__gt=since).exclude(state__in=(Mail.State.DROPPED, Mail.State.FAILED)).exists()
    )


def requeue_failed(mails: MailQuerySet) -> int:
    """Queue the failed ones of these mails again. How many."""
    count = mails.wait_again()
    doorbell.ring_after_commit("notifications.send_mails")
    return count


def admit_mail(mail: Mail) -> None:
    mail.admit()
    doorbell.ring_after_commit("notifications.send_mails")
