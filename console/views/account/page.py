"""What a user sets, and what opens the account."""

from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.models import LONGEST_RETENTION_DAYS, Scope, Session, User, UserSettings
from console.pages import PersonalPage
from console.views.account import agents
from detections.models import Detector
from notifications.models import Event, WebhookEndpoint

MOST_OTHERS = 50
SCOPES = {
    Scope.DETECT: "Upload pictures, and change, review and delete detections.",
    Scope.READ: "Read results and pictures, and export them.",
    Scope.ACCOUNT: "Read and change your name, settings and webhooks.",
}


class AccountPage(PersonalPage):
    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.render(
            "account/page",
            section="account",
            preferences=self.user.preferences,
            themes=UserSettings.Theme.choices,
            server_confidence=settings.CONFIDENCE_THRESHOLD,
            class_names=known_class_names(),
            longest_retention=LONGEST_RETENTION_DAYS,
            scopes=[(scope.value, text, scope != Scope.ACCOUNT) for scope, text in SCOPES.items()],
            event_types=Event.Type.values,
            **self.parts(),
        )

    @property
    def current(self) -> Session:
        return cast(Session, self.session)

    def parts(self) -> dict[str, Any]:
        return {
            **keys_of(self.user),
            **webhooks_of(self.user),
            **self.own_sessions(),
        }

    def own_sessions(self) -> dict[str, Any]:
        """The one that asks, then the others' latest log-ins."""
        alive = self.user.sessions.alive().order_by("-created_at", "-id")
        others = list(alive.exclude(pk=self.current.pk)[: MOST_OTHERS + 1])
        shown = [self.current, *others[:MOST_OTHERS]]
        return {
            "sessions": [(session, agents.in_words(session.user_agent)) for session in shown],
            "current": self.current,
            "has_more_sessions": len(others) > MOST_OTHERS,
        }


class KeysPart(AccountPage):
    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.render("account/keys", **keys_of(self.user))


class WebhooksPart(AccountPage):
    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.render("account/webhooks", **webhooks_of(self.user))


class SessionsPart(AccountPage):
    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.render("account/sessions", **self.own_sessions())


def keys_of(user: User) -> dict[str, Any]:
    return {"keys": user.api_keys.kept().order_by("-created_at", "-id"), "now": timezone.now()}


def webhooks_of(user: User) -> dict[str, Any]:
    return {"webhooks": WebhookEndpoint.objects.owned_by(user)}


def known_class_names() -> list[str]:
    """The classes of all active detectors, for suggestions."""
    lists = Detector.objects.active().values_list("classes", flat=True)
    return sorted({name for names in lists for name in names})
