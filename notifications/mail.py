"""Mails somebody: writes a row, and rings once that is committed. A worker sends it.

No address is mailed more than `Mail.MOST` times an hour for the same reason, whoever wants it; what strangers
ask for is counted apart.
"""

from django.db import transaction
from django.utils import timezone

from notifications import tasks
from notifications.models import NAME_LENGTH, Mail, MailQuerySet
from objectvision import connections

Kind = Mail.Kind


class TooManyMailsError(Exception):
    """The address has had its mails; the next one may be asked for in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Too many mails of this kind; try again in {wait:.0f} seconds.")
        self.wait = wait


def send(kind: Mail.Kind, to: str, name: str = "") -> None:
    """Tell them what was done. What is past the bound is dropped.

    `name` greets them: leave it out unless the address has been verified, or whoever signs up with
    somebody else's address has their own words sent there.
    """
    mail = Mail.objects.create(kind=kind, to=to.lower(), name=one_line(name))
    if mail.free_at() is None:
        admit(mail)


def ask(kind: Mail.Kind, to: str) -> None:
    """For strangers: the mail is sent if there is an account to write it to, which neither this nor its time
    tells. Raises TooManyMailsError, for whatever address.
    """
    mail = Mail.objects.create(kind=kind, to=to.lower(), by_stranger=True)
    if free_at := mail.free_at():
        mail.delete()
        raise TooManyMailsError((free_at - timezone.now()).total_seconds())
    admit(mail)


def send_again(mails: MailQuerySet) -> int:
    """Those of them that have failed. How many."""
    count = mails.wait_again()
    transaction.on_commit(ring, robust=True)
    return count


def admit(mail: Mail) -> None:
    mail.admit()
    # A broker that is away fails no request: the sweep rings again.
    transaction.on_commit(ring, robust=True)


def ring() -> None:
    connections.give_back()  # a broker that hangs holds up this request alone
    tasks.send_mails.delay()


def one_line(name: str) -> str:
    return " ".join(name.split())[:NAME_LENGTH]
