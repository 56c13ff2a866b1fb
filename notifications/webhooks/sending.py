"""Sends one request to a receiver that a user chose: to public addresses only, within one deadline."""

from dataclasses import dataclass
from datetime import datetime

SECONDS = 15


class SendingError(Exception):
    """No answer. The message is the reason, for the user."""


@dataclass(frozen=True)
class Answer:
    """An answer as it can be stored: no NUL, no lone surrogates, bounded."""

    status: int
    headers: dict[str, str]
    """By name in lower case; several of one name joined by commas."""
    body: str
    truncated: bool


def post(url: str, headers: dict[str, str], body: bytes, seconds: float = SECONDS) -> Answer:
    """The answer of the receiver, whatever its status. Raises SendingError."""
    raise NotImplementedError


def signed_headers(message_id: str, secrets: list[str], body: bytes, now: datetime) -> dict[str, str]:
    """The headers of one attempt, after Standard Webhooks: one signature for each secret."""
    raise NotImplementedError
