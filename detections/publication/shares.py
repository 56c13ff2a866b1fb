"""Links that show a private detection to everybody who has them."""

import secrets
from datetime import timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from detections.models import Detection
from detections.publication.models import ShareLink

MOST_SHARES = 50  # of a detection
TOKEN_BYTES = 32


class TooManySharesError(Exception):
    """The detection has the largest number of links. The text is for its owner."""


def hash_token(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def create_share(detection: Detection, seconds: int) -> tuple[ShareLink, str]:
    """A new link's row, and its token, which is not stored.

    Raises TooManySharesError, and Detection.DoesNotExist if it was deleted meanwhile.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        if not Detection.objects.lock([detection.pk]):  # so that requests at once do not pass the limit
            raise Detection.DoesNotExist
        if detection.shares.alive().count() >= MOST_SHARES:
            raise TooManySharesError(
                f"The detection has {MOST_SHARES} share links already; revoke one of them first."
            )
        share = ShareLink.objects.create(
            detection=detection,
            token_hash=hash_token(token),
            expires_at=timezone.now() + timedelta(seconds=seconds),
        )
    return share, token


def count_use(token: str) -> None:
    ShareLink.objects.filter(token_hash=hash_token(token)).update(use_count=F("use_count") + 1)
