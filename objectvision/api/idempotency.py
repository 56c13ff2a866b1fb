"""A request that is repeated with its `Idempotency-Key` makes no second row.

The row that it made keeps the key in `idempotency_key` and the request's fingerprint in `request_hash`; an
index makes the key unique for a user.
"""

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

from objectvision.api.errors import invalid

T = TypeVar("T", bound=Model)

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    OpenApiParameter.HEADER,
    description="The same key with the same request answers with what it made; with another one, 422.",
)
TRIES = 2  # the row that held the key may be deleted before it is read


class KeyReused(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request."


def key_of(request: Request) -> str | None:
    """The request's key, or None. Raises ValidationError."""
    key = request.headers.get(HEADER)
    if key is None or KEY.fullmatch(key):
        return key
    raise invalid(HEADER, "Must have 1 to 255 visible ASCII characters.", "invalid")


def once(owned: QuerySet[T], key: str | None, fingerprint: str, make: Callable[[], T]) -> T:
    """The row of the user that an earlier request with this key made, or a new one from `make`.

    `owned` are the user's rows. Raises KeyReused if the earlier request had another fingerprint.
    """
    if key is None:
        return make()
    earlier = owned.filter(idempotency_key=key)
    found = earlier.first() or made_or_found(earlier, make, TRIES)
    if found.request_hash != fingerprint:  # type: ignore[attr-defined]  # both models that have a key have it
        raise KeyReused
    return found


def made_or_found(earlier: QuerySet[T], make: Callable[[], T], tries: int) -> T:
    try:
        return make()
    except IntegrityError:  # the index decides between concurrent requests
        found = earlier.first()
        if found is None and tries == 1:
            raise
    return found or made_or_found(earlier, make, tries - 1)


def fingerprint(request: Request) -> str:
    """A hash of path, fields and files (names and bytes), the same for any multipart boundary."""
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
    """Of the bytes alone: the size of the chunks depends on the request's length."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.digest()
