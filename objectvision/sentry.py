"""Sends errors to Sentry: what is logged as an error, with its traceback and the id of its request.

Of Sentry's integrations only the one with logging is used: the others read requests, with what is secret in
them.
"""

import re
from typing import Any

import sentry_sdk
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.utils import BadDsn

from objectvision import __version__
from objectvision.lib import logs

ADDRESS = re.compile(r"[^\s@<>()'\"=]+@[^\s@<>()'\"=]+")
KEPT = frozenset(logs.FIELDS) - {"user_id"}


def begin() -> None:
    """For this process and its children."""
    try:
        sentry_sdk.init(
            dsn=settings.SENTRY_DSN,
            environment=settings.ENVIRONMENT,
            release=__version__,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                LoggingIntegration(level=None),
                DedupeIntegration(),
                AtexitIntegration(callback=lambda _pending, _timeout: None),  # which would print
            ],
            include_local_variables=False,
            max_request_body_size="never",
            before_send=keep_what_is_needed,
        )
    except BadDsn as error:
        raise ImproperlyConfigured(
            "SENTRY_DSN is not valid; it must be like https://key@sentry.example.com/1."
        ) from error


def keep_what_is_needed(event: Any, _hint: Any) -> Any:
    """The event without what users wrote or are known by."""
    if request := logs.current_request():
        event.setdefault("tags", {})["request_id"] = request
    event["extra"] = {name: str(known) for name, known in event.get("extra", {}).items() if name in KEPT}
    entry = event.get("logentry", {})
    entry.pop("params", None)
    for name in entry:
        entry[name] = masked(str(entry[name]))
    for error in event.get("exception", {}).get("values", ()):
        error["value"] = masked(str(error.get("value") or ""))
    return event


def masked(text: str) -> str:
    """Its first line, without mail addresses: databases write the values of rows into the next one."""
    return ADDRESS.sub("[address]", text.partition("\n")[0])
