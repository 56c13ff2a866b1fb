"""The same request sent again makes nothing new. The key is held on the row that it made, in
`idempotency_key` beside `request_hash`, under a unique index of user and key."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import IntegrityError
from django.db.models import Model, QuerySet
from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from objectvision.errors import invalid

T = TypeVar("T", bound=Model)

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    OpenApiParameter.HEADER,
    description="The same key with the same request answers with what it made; with another one, 422.",
)
# The second one where the row that stood in the way is gone when it is looked at.
TRIES = 2


class KeyReused(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request."


def key_of(request: Request) -> str | None:
    """Raises ValidationError."""
    key = request.headers.get(HEADER)
    if key is None or KEY.fullmatch(key):
        return key
    raise invalid(HEADER, "Must have 1 to 255 visible ASCII characters.", "invalid")


def once(theirs: QuerySet[T], key: str | None, fingerprint: str, make: Callable[[], T]) -> T:
    """What `make` makes under this key, or what a request with this key and fingerprint has made before.

    `theirs` are the user's rows. Raises KeyReused if that was another request.
    """
    if key is None:
        return make()
    earlier = theirs.filter(idempotency_key=key)
    found = earlier.first() or made_or_found(earlier, make, TRIES)
    if found.request_hash != fingerprint:  # type: ignore[attr-defined]  # the rows that this is for have one
        raise KeyReused
    return found


def made_or_found(earlier: QuerySet[T], make: Callable[[], T], tries: int) -> T:
    try:
        return make()
    except IntegrityError:  # the index decides between requests at once
        found = earlier.first()
        if found is None and tries == 1:
            raise
    return found or made_or_found(earlier, make, tries - 1)


def fingerprint(request: Request) -> str:
    """Of what was sent, whatever its boundaries: the path, the fields, names and bytes of the files."""
    digest = hashlib.sha256(request.path.encode())
    if not isinstance(request.data, QueryDict):
        digest.update(json.dumps(request.data, sort_keys=True).encode())
        return digest.hexdigest()
    for name, values in sorted(request.data.lists()):
        for value in values:
            digest.update(repr((name, getattr(value, "name", value))).encode())
            if hasattr(value, "chunks"):
                digest.update(hash_of(value))
    return digest.hexdigest()


def hash_of(file: Any) -> bytes:
    """Of its bytes alone: how they come in chunks depends on the request's length."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.digest()
