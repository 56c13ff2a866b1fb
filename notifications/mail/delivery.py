"""Mails leave the queue. Each is sent once: by whoever has claimed it, and again only under the same key."""

import logging
from datetime import timedelta
from http import HTTPStatus

from anymail.exceptions import AnymailError, AnymailRequestsAPIError
from requests import Response

from notifications import letters
from notifications.models import Mail

log = logging.getLogger(__name__)

# What Brevo says of a key that it has seen lately: it was the answer to an earlier attempt that got lost.
SENT_BEFORE = "duplicate_parameter"
# It is the mail that is wrong, and it will be the next time.
PERMANENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
# Those after which Brevo says, in seconds, when to come again.
WAITS = ("Retry-After", "x-sib-ratelimit-reset")
LONGEST_WAIT = 24 * 60 * 60


def run() -> bool:
    """Send the mail that has been due for longest. False if none is.

    A fault that is not the mail service's leaves the claim to lapse: the next attempt comes later.
    """
    mail = Mail.objects.claim()
    if mail is None:
        return False
    try:
        letters.write(mail).send()
    except letters.NoReaderError:
        mail.drop()
    except AnymailRequestsAPIError as error:
        refused(mail, error)
    # What it cannot even ask Brevo for; a host that is none, to the console.
    except (AnymailError, UnicodeError) as error:
        log.exception("Mail %s (%s) cannot be sent", mail.pk, mail.kind)
        mail.fail(str(error))
    except OSError as error:
        unanswered(mail, error)
    else:
        sent(mail)
    return True


def sent(mail: Mail) -> None:
    mail.sent()
    log.info("Mail %s (%s) sent", mail.pk, mail.kind)


def refused(mail: Mail, error: AnymailRequestsAPIError) -> None:
    response: Response | None = error.response
    if response is None:
        unanswered(mail, error.__cause__ or error)
        return
    code, message = reason(response)
    if code == SENT_BEFORE:
        sent(mail)
        return
    told = f"{response.status_code} {code}: {message}"
    if response.status_code in PERMANENT:
        log.error("Mail %s (%s) is refused for good: %s", mail.pk, mail.kind, told)
        mail.fail(told)
        return
    is_passing = response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= 500  # noqa: PLR2004  # 5xx
    # What does not pass by itself is the operator's to put right: a key, an account without credit.
    log.log(
        logging.WARNING if is_passing else logging.ERROR,
        "Mail %s (%s) is refused for now: %s", mail.pk, mail.kind, told,
    )  # fmt: skip  # a call to read at a glance
    mail.put_off(told, at_least=wanted_wait(response))


def unanswered(mail: Mail, error: BaseException) -> None:
    log.warning("Mail %s (%s) got no answer: %s", mail.pk, mail.kind, type(error).__name__)
    mail.put_off(f"No answer: {type(error).__name__}")


def reason(response: Response) -> tuple[str, str]:
    """The code and the sentence that an answer of Brevo's gives; empty in what is none."""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    return (str(body.get("code", "")), str(body.get("message", ""))) if isinstance(body, dict) else ("", "")


def wanted_wait(response: Response) -> timedelta:
    wanted = [response.headers.get(name, "") for name in WAITS]
    seconds = [int(value) for value in wanted if value.isascii() and value.isdecimal()]
    return timedelta(seconds=min(max(seconds, default=0), LONGEST_WAIT))
