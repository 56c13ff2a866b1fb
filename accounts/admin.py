from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts import closing
from accounts.forms import OthersPasswordForm
from accounts.models import ApiKey, Session, User, UserSettings
from notifications.admin import ReadOnly, changeable_users

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class GroupAdmin(DjangoGroupAdmin):
    """Only superusers change groups: members have the rights of their groups."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, *_: Any, **__: Any) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, *_: Any, **__: Any) -> bool:
        return request.user.is_superuser


admin.site.unregister(Group)
admin.site.register(Group, GroupAdmin)


class UserSettingsInline(admin.StackedInline):
    model = UserSettings
    can_delete = False


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    list_display = ("email", "name", "is_active", "is_staff", "email_verified_at", "created_at")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("-created_at",)
    readonly_fields = ("created_at", "updated_at", "last_login")
    filter_horizontal = ("groups", "user_permissions")
    fieldsets = (
        (None, {"fields": ("email", "name", "email_verified_at", "is_active")}),
        ("Rights", {"fields": RIGHTS}),
        ("Times", {"fields": ("created_at", "updated_at", "last_login")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "name", "password1", "password2")}),)
    inlines = (UserSettingsInline,)
    actions = ("end_sessions", "close_accounts")
    change_password_form = OthersPasswordForm

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if request.user.is_superuser:
            return fields
        # A stolen cookie must not take the account over by a reset's mail to a new address.
        own = ("email",) if obj == request.user else ()
        return (*fields, *own, *RIGHTS)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002  # Django's
        if self.get_object(request, unquote(id)) == request.user:
            return redirect("admin:password_change")  # asks for the old password
        return super().user_change_password(request, id, form_url)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # To set another user's password or address is to have their rights.
        is_allowed = obj is None or changeable_users(request).filter(pk=obj.pk).exists()
        return super().has_change_permission(request, obj) and is_allowed

    def has_delete_permission(self, *_: Any, **__: Any) -> bool:
        return False  # closing the account erases its files too

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            super().save_model(request, obj, form, change)
            return
        # Only what was changed: a password reset meanwhile stays reset, a closed account closed.
        columns = {field.name for field in self.opts.concrete_fields}
        changed = columns.intersection(form.changed_data)
        obj.save(update_fields=[*changed, "updated_at"])

    def has_close_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.delete_user"))

    @admin.action(description="End all sessions of the selected users", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = User.objects.end_all_sessions(changeable_users(request).filter(pk__in=queryset))
        self.message_user(request, f"{count} sessions ended.", messages.SUCCESS)

    @admin.action(description="Close the accounts of the selected users", permissions=["close"])
    def close_accounts(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = changeable_users(request).filter(pk__in=queryset, is_superuser=False)
        closed = [closing.close(user) for user in users]
        self.message_user(
            request,
            f"{sum(closed)} accounts closed; a worker erases rows and files. Superusers stay; "
            "only superusers close accounts of staff.",
            messages.SUCCESS,
        )


@admin.register(Session)
class SessionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("user", "created_at", "last_used_at", "expires_at", "revoked_at", "user_agent")
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__email",)
    ordering = ("-created_at",)
    exclude = ("refresh_jti",)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly, admin.ModelAdmin):
    list_display = (
        "user", "name", "prefix", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at",
    )  # fmt: skip  # a list to read at a glance
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__email", "prefix")
    ordering = ("-created_at",)
    exclude = ("hash",)
    actions = ("revoke",)

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = ApiKey.objects.filter(pk__in=queryset, user__in=changeable_users(request)).revoke()
        self.message_user(request, f"{count} API keys revoked.", messages.SUCCESS)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Staff who may change keys: the rows are read-only otherwise."""
        return bool(request.user.has_perm("accounts.change_apikey"))
