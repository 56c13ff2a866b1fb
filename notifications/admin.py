from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from notifications.mail import outbox
from notifications.models import (
    Event,
    Mail,
    MailQuerySet,
    WebhookDelivery,
    WebhookDeliveryQuerySet,
    WebhookEndpoint,
)
from notifications.webhooks import endpoints

DEACTIVATED_BY_STAFF = "A member of staff deactivated it."


class ReadOnly(BaseModelAdmin):
    """Rows that only the system writes. The admins of other apps use it too."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Not by what is excluded: the count of rows would tell a secret letter by letter."""
        is_hidden = lookup.partition("__")[0] in (self.exclude or ())
        return not is_hidden and super().lookup_allowed(lookup, value, request)

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any, **__: Any) -> bool:
        return False


def changeable_users(request: HttpRequest) -> QuerySet[Any]:
    """The users whose accounts this member of staff may change.

    All for superusers; for other staff their own and those of users who are not staff.
    """
    users = get_user_model().objects.all()
    if request.user.is_superuser:
        return users
    return users.filter(Q(is_staff=False, is_superuser=False) | Q(pk=request.user.pk))


def sendable_mails(request: HttpRequest, mails: MailQuerySet) -> MailQuerySet:
    """The mails that this member of staff may send again: not those to other staff, except for superusers."""
    if request.user.is_superuser:
        return mails
    staff = get_user_model().objects.filter(Q(is_staff=True) | Q(is_superuser=True))
    others = staff.exclude(email=request.user.get_username())
    return mails.exclude(to__in=others.values("email"))


@admin.register(Mail)
class MailAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "kind", "to", "state", "attempts", "error", "created_at", "due_at", "sent_at")
    list_filter = ("state", "kind")
    search_fields = ("=id", "=to")
    exclude = ("claim",)
    ordering = ("-id",)  # by creation, from the primary key's index
    actions = ("send_again",)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_mail"))

    @admin.action(description="Send the selected mails again that have failed", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: MailQuerySet) -> None:
        count = outbox.requeue_failed(sendable_mails(request, queryset))
        self.message_user(request, f"{count} mails wait to be sent again.", messages.SUCCESS)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "user", "url", "events", "is_active", "failing_since", "created_at")
    list_select_related = ("user",)
    list_filter = ("is_active", ("failing_since", admin.EmptyFieldListFilter))
    search_fields = ("=id", "user__email", "url")
    exclude = ("secret", "previous_secret")
    ordering = ("-id",)  # by creation, from the primary key's index
    actions = ("deactivate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        return super().get_queryset(request).filter(deleted_at=None).defer(*self.exclude)

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_webhookendpoint"))

    @admin.action(description="Deactivate the selected webhooks", permissions=["deactivate"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        chosen = queryset.filter(user__in=changeable_users(request)).select_related("user")
        ended = [endpoints.disable_endpoint(endpoint, DEACTIVATED_BY_STAFF) for endpoint in chosen]
        self.message_user(
            request, f"{sum(ended)} webhooks deactivated; their owners are told.", messages.SUCCESS
        )


class TypeFilter(admin.SimpleListFilter):
    """By the types that there are: to look for those in use would read the whole table."""

    title = "type"
    parameter_name = "type"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in (*Event.Type.values, WebhookDelivery.PING)]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = (
        "id", "user", "type", "state", "attempts", "status_code", "error", "created_at", "next_at",
    )  # fmt: skip  # a list to read at a glance
    list_select_related = ("endpoint__user",)
    list_filter = ("state", TypeFilter)
    search_fields = ("=id", "=event", "endpoint__user__email")
    exclude = ("claim",)
    ordering = ("-id",)  # by creation, from the primary key's index
    actions = ("send_again",)

    @admin.display(ordering="endpoint__user__email")
    def user(self, delivery: WebhookDelivery) -> str:
        return str(delivery.endpoint.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        deliveries = super().get_queryset(request).filter(endpoint__deleted_at=None)
        return deliveries.defer("request", "response", "endpoint__secret", "endpoint__previous_secret")

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_webhookdelivery"))

    @admin.action(description="Send the selected deliveries again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: WebhookDeliveryQuerySet) -> None:
        chosen = queryset.filter(endpoint__user__in=changeable_users(request))
        count = endpoints.send_again(WebhookDelivery.objects.filter(pk__in=chosen))
        self.message_user(request, f"{count} deliveries wait to be sent again.", messages.SUCCESS)
