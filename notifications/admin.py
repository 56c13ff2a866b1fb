from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from notifications import mail
from notifications.models import Mail, MailQuerySet


@admin.register(Mail)
class MailAdmin(admin.ModelAdmin):
    list_display = ("id", "kind", "to", "state", "attempts", "error", "created_at", "due_at", "sent_at")
    list_filter = ("state", "kind")
    search_fields = ("=id", "=to")
    exclude = ("claim",)
    ordering = ("-id",)  # by creation, from the primary key's index
    show_full_result_count = False
    actions = ("send_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # as above
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # as above
        return False

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_mail"))

    @admin.action(description="Send the selected mails that have failed again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: MailQuerySet) -> None:
        count = mail.send_again(queryset)
        self.message_user(request, f"{count} mails wait to be sent again.", messages.SUCCESS)
