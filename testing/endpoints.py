"""Every endpoint of the API, and who may see its rows."""

from uuid import UUID

from django.urls import get_resolver

# Who may call an endpoint: anyone; any user, who sees only their own rows; or the owner of one object.
PUBLIC, OWN, DETECTION, USER, EXPORT = "public", "own", "detection", "user", "export"
SESSION, KEY, WEBHOOK = "session", "key", "webhook"
ENDPOINTS = {
    ("POST", "auth/signup"): PUBLIC,
    ("POST", "auth/login"): PUBLIC,
    ("POST", "auth/refresh"): PUBLIC,
    ("POST", "auth/logout"): OWN,
    ("POST", "auth/logout-all"): OWN,
    ("POST", "auth/password/change"): OWN,
    ("POST", "auth/password/reset"): PUBLIC,
    ("POST", "auth/password/reset/confirm"): PUBLIC,  # by a mailed token: see test_passwords
    ("POST", "auth/verify-email"): PUBLIC,
    ("GET", "auth/verify-email"): PUBLIC,  # as above: see test_verification
    ("GET", "auth/sessions"): OWN,
    ("DELETE", "auth/sessions/<uuid:pk>"): SESSION,
    ("POST", "auth/ws-ticket"): OWN,
    ("GET", "users/api-keys"): OWN,
    ("POST", "users/api-keys"): OWN,
    ("DELETE", "users/api-keys/<uuid:pk>"): KEY,
    ("GET", "users/get-profile"): OWN,
    ("GET", "users/settings"): OWN,
    ("PATCH", "users/settings"): OWN,
    ("GET", "users/<uuid:pk>"): USER,
    ("PATCH", "users/<uuid:pk>"): USER,
    ("DELETE", "users/<uuid:pk>"): USER,
    ("GET", "users/export"): OWN,
    ("POST", "detect/image"): OWN,
    ("POST", "detect/batch"): OWN,
    ("POST", "detect/bulk"): OWN,
    ("POST", "detect/jobs/<uuid:pk>/cancel"): DETECTION,
    ("POST", "detect/jobs/<uuid:pk>/retry"): DETECTION,
    ("GET", "detect/history"): OWN,
    ("GET", "detect/results"): OWN,
    ("GET", "users/statistics"): OWN,
    ("POST", "detect/exports"): OWN,
    ("GET", "detect/exports/<uuid:pk>"): EXPORT,
    ("GET", "detect/exports/<uuid:pk>/file"): PUBLIC,  # by a signed link: see test_exports
    ("GET", "detectors"): OWN,
    ("GET", "events"): OWN,
    ("GET", "detect/jobs/<uuid:pk>"): DETECTION,
    ("GET", "detect/<uuid:pk>"): DETECTION,
    ("PATCH", "detect/<uuid:pk>"): DETECTION,
    ("DELETE", "detect/<uuid:pk>"): DETECTION,
    ("POST", "detect/<uuid:pk>/rerun"): DETECTION,
    ("GET", "detect/<uuid:pk>/export"): DETECTION,
    ("GET", "detect/<uuid:pk>/results"): DETECTION,
    ("POST", "detect/<uuid:pk>/results"): DETECTION,
    ("PATCH", "detect/<uuid:pk>/results/<uuid:result_id>"): DETECTION,
    ("DELETE", "detect/<uuid:pk>/results/<uuid:result_id>"): DETECTION,
    ("POST", "detect/<uuid:pk>/review"): DETECTION,
    ("GET", "detect/<uuid:pk>/image"): DETECTION,
    ("GET", "detect/<uuid:pk>/images/<uuid:image_id>"): DETECTION,
    ("GET", "detect/<uuid:pk>/images/<uuid:image_id>/thumbnail"): DETECTION,
    ("GET", "detect/<uuid:pk>/shares"): DETECTION,
    ("POST", "detect/<uuid:pk>/shares"): DETECTION,
    ("DELETE", "detect/<uuid:pk>/shares/<uuid:share_id>"): DETECTION,
    ("GET", "detect/public"): PUBLIC,  # see test_visitors
    ("GET", "detect/public/<uuid:pk>"): PUBLIC,
    ("GET", "detect/public/<uuid:pk>/image"): PUBLIC,
    ("GET", "detect/public/<uuid:pk>/thumbnail"): PUBLIC,
    ("POST", "detect/public/<uuid:pk>/report"): PUBLIC,
    ("GET", "detect/shared/<str:token>"): PUBLIC,
    ("GET", "detect/shared/<str:token>/image"): PUBLIC,
    ("GET", "webhooks"): OWN,
    ("POST", "webhooks"): OWN,
    ("GET", "webhooks/<uuid:pk>"): WEBHOOK,
    ("PATCH", "webhooks/<uuid:pk>"): WEBHOOK,
    ("DELETE", "webhooks/<uuid:pk>"): WEBHOOK,
    ("POST", "webhooks/<uuid:pk>/rotate-secret"): WEBHOOK,
    ("POST", "webhooks/<uuid:pk>/ping"): WEBHOOK,
    ("POST", "webhooks/<uuid:pk>/replay"): WEBHOOK,
    ("GET", "webhooks/<uuid:pk>/deliveries"): WEBHOOK,
    ("GET", "webhooks/<uuid:pk>/deliveries/<uuid:delivery_id>"): WEBHOOK,
    ("POST", "webhooks/<uuid:pk>/deliveries/<uuid:delivery_id>/redeliver"): WEBHOOK,
    **{("GET", f"health{part}"): PUBLIC for part in ("", "/ready", "/database", "/redis")},
    **{("GET", f"health/{part}"): PUBLIC for part in ("celery", "storage", "detector")},
    ("GET", "openapi.json"): PUBLIC,
    ("GET", "docs"): PUBLIC,
    ("GET", "redoc"): PUBLIC,
}
CHANGES = {
    ("PATCH", "detect/<uuid:pk>"): {"name": "Mine now", "is_public": True},
    ("POST", "detect/<uuid:pk>/results"): {
        "image_id": "<uuid:image_id>",
        "object_class": "mine",
        "bbox_normalized": {"x": 0, "y": 0, "width": 1, "height": 1},
    },
    ("PATCH", "detect/<uuid:pk>/results/<uuid:result_id>"): {"object_class": "mine"},
    ("POST", "detect/<uuid:pk>/review"): {"review": "rejected", "min_confidence": 0},
    ("PATCH", "users/<uuid:pk>"): {"name": "Mine now"},
    ("DELETE", "users/<uuid:pk>"): {"password": "a-long-passphrase"},
    ("PATCH", "webhooks/<uuid:pk>"): {"description": "Mine now", "is_active": False},
    ("POST", "webhooks/<uuid:pk>/replay"): {"since": "2026-01-01T00:00:00Z"},
}
# What paths name inside of an object.
INNER = ("image", "result", "share", "delivery")
QUESTIONS = {"detect/<uuid:pk>/export": {"format": "csv"}}


def call(client, method, path, ids):
    """Request an endpoint with the ids of `owned`, or with ids of nothing where `ids` is empty."""
    pk = ids.get(ENDPOINTS[method, path], UUID(int=0))
    data = QUESTIONS.get(path) or CHANGES.get((method, path), {})
    if "image_id" in data:
        data = {**data, "image_id": with_ids(data["image_id"], pk, ids)}
    ask = getattr(client, method.lower())
    return ask(f"/api/v1/{with_ids(path, pk, ids)}", data or None)


def with_ids(path, pk, ids):
    """The path with the id of its object, and of what it names inside that object."""
    if path.startswith("detect/public/"):
        pk = ids.get("published", pk)
    path = path.replace("<str:token>", ids.get("token", "unknown"))
    for name in INNER:
        path = path.replace(f"<uuid:{name}_id>", str(ids.get(name, pk)))
    return path.replace("<uuid:pk>", str(pk))


def url_patterns(resolver=None, prefix=""):
    """Every URL pattern that is served, behind its whole path."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = f"{prefix}{entry.pattern}"
        if hasattr(entry, "url_patterns"):
            yield from url_patterns(entry, path)
        else:
            yield path, entry
