from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.http import HttpRequest

from notifications.mail import outbox
from notifications.models import Mail, MailQuerySet


class ReadOnly:
    """Rows that only the system writes. The admins of other apps use it too."""

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any, **__: Any) -> bool:
        return False


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
