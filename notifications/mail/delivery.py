"""Sends the mails of the queue. A mail is sent by the worker that claimed it, at each attempt under the same
idempotency key."""

import logging
from datetime import timedelta
from http import HTTPStatus

from anymail.exceptions import AnymailError, AnymailRequestsAPIError
from requests import Response

from notifications.mail import rendering
from notifications.models import Mail

log = logging.getLogger(__name__)

# Brevo's code for a key that it has seen lately: an earlier attempt was accepted and its answer lost.
SENT_BEFORE = "duplicate_parameter"
# The mail itself is wrong, and will be at the next attempt.
PERMANENT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
# Headers by which Brevo says, in seconds, when to try again.
WAIT_HEADERS = ("Retry-After", "x-sib-ratelimit-reset")
LONGEST_WAIT = 24 * 60 * 60


def send_next_mail() -> bool:
    """Send the mail that has been due for longest. False if none is due.

    After an error that is not the mail service's, the claim lapses and the next attempt comes later.
    """
    mail = Mail.objects.claim()
    if mail is None:
        return False
    try:
        rendering.render_mail(mail).send()
    except rendering.NoReaderError:
        mail.drop()
    except AnymailRequestsAPIError as error:
        handle_refusal(mail, error)
    # Not even Brevo can be asked for such a mail; the console refuses a host name that is none.
    except (AnymailError, UnicodeError) as error:
        log.exception("Mail %s (%s) cannot be sent", mail.pk, mail.kind)
        mail.fail(str(error))
    except OSError as error:
        handle_no_answer(mail, error)
    else:
        mark_sent(mail)
    return True


def mark_sent(mail: Mail) -> None:
    mail.sent()
    log.info("Mail %s (%s) sent", mail.pk, mail.kind)


def handle_refusal(mail: Mail, error: AnymailRequestsAPIError) -> None:
    response: Response | None = error.response
    if response is None:
        handle_no_answer(mail, error.__cause__ or error)
        return
    code, message = code_and_message(response)
    if code == SENT_BEFORE:
        mark_sent(mail)
        return
    reason = f"{response.status_code} {code}: {message}"
    if response.status_code in PERMANENT:
        log.error("Mail %s (%s) is refused for good: %s", mail.pk, mail.kind, reason)
        mail.fail(reason)
        return
    log.log(refusal_level(response), "Mail %s (%s) is refused for now: %s", mail.pk, mail.kind, reason)
    mail.put_off(reason, at_least=requested_wait(response))


def refusal_level(response: Response) -> int:
    """An error if an operator has to act: on a wrong key, or an account without credit."""
    status = response.status_code
    is_passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return logging.WARNING if is_passing else logging.ERROR


def handle_no_answer(mail: Mail, error: BaseException) -> None:
    log.warning("Mail %s (%s) got no answer: %s", mail.pk, mail.kind, type(error).__name__)
    mail.put_off(f"No answer: {type(error).__name__}")


def code_and_message(response: Response) -> tuple[str, str]:
    """Of Brevo's error; empty if the body is none."""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    return (str(body.get("code", "")), str(body.get("message", ""))) if isinstance(body, dict) else ("", "")


def requested_wait(response: Response) -> timedelta:
    values = [response.headers.get(name, "") for name in WAIT_HEADERS]
    seconds = [int(value) for value in values if value.isascii() and value.isdecimal()]
    return timedelta(seconds=min(max(seconds, default=0), LONGEST_WAIT))
