from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.forms import AdminPasswordChangeForm as AdminOwnPasswordChangeForm
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from accounts import closing, passwords, tries
from accounts.models import ApiKey, Session, User, UserSettings
from objectvision.throttles import LoginThrottle


class LoginForm(AdminAuthenticationForm):
    """Counts log-ins and wrong tries together with those at the API."""

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if not data.get("username") or not data.get("password"):
            return data
        throttle = LoginThrottle()
        if not throttle.admits(self.request):
            raise ValidationError("Too many log-ins from your address; try again in a minute.", "throttled")
        try:
            user = tries.log_in(self.request, data["username"], data["password"])
        except tries.TooManyTriesError as error:
            raise ValidationError(str(error), "too_many_tries") from error
        if user is None:
            raise self.get_invalid_login_error()
        self.confirm_login_allowed(user)
        self.user_cache = user
        return data


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """As changes at the API: wrong tries count with those of log-ins, sessions end, a mail tells of it."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            known = tries.log_in(None, self.user.email, old)
        except tries.TooManyTriesError as error:
            raise ValidationError(str(error), "too_many_tries") from error
        if known is None:
            raise ValidationError(self.error_messages["password_incorrect"], "password_incorrect")
        return old

    def save(self, commit: bool = True) -> User:  # noqa: ARG002  # Django's signature
        if not passwords.change(self.user, self.cleaned_data["new_password1"], keep=Session()):
            raise PermissionDenied
        self.user.refresh_from_db()
        return self.user


def password_change(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
    view = PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context={**admin.site.each_context(request), **(extra_context or {})},
    )
    return view(request)


admin.site.password_change = password_change  # type: ignore[assignment]  # its form is no setting, as the log-in's is
admin.site.login_form = LoginForm
admin.site.site_header = admin.site.site_title = "ObjectVision"
admin.site.index_title = "Staff"
admin.site.site_url = "/docs"

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class ReadOnly:
    """For rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # as above
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002  # as above
        return False


class UserSettingsInline(admin.StackedInline):
    model = UserSettings
    can_delete = False


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    list_display = ("email", "name", "is_active", "is_staff", "email_verified_at", "created_at")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("-created_at",)
    show_full_result_count = False
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

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return (
            fields if request.user.is_superuser else (*fields, *RIGHTS)
        )  # nobody gives rights to themselves

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # Whoever sets somebody's password or address has their rights.
        is_others = obj is not None and obj.is_staff and obj != request.user and not request.user.is_superuser
        return super().has_change_permission(request, obj) and not is_others

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:  # noqa: ARG002  # Django's
        return False  # the files would stay: close the account instead

    def has_close_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.delete_user"))

    @admin.action(description="End all sessions of the selected users", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        theirs = [user for user in queryset if self.has_change_permission(request, user)]
        count = Session.objects.filter(user__in=theirs).revoke()
        self.message_user(request, f"{count} sessions ended.", messages.SUCCESS)

    @admin.action(description="Close the accounts of the selected users", permissions=["close"])
    def close_accounts(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        closed = [closing.close(user) for user in queryset.filter(is_superuser=False)]
        self.message_user(
            request,
            f"{sum(closed)} accounts closed; rows and files go within minutes. Superusers stay.",
            messages.SUCCESS,
        )


@admin.register(Session)
class SessionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("user", "created_at", "last_used_at", "expires_at", "revoked_at", "user_agent")
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__email",)
    ordering = ("-created_at",)
    show_full_result_count = False
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
    show_full_result_count = False
    exclude = ("hash",)
    actions = ("revoke",)

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = ApiKey.objects.filter(pk__in=queryset).revoke()
        self.message_user(request, f"{count} API keys revoked.", messages.SUCCESS)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Rows are read-only otherwise; ending one is the right of who may change them."""
        return bool(request.user.has_perm("accounts.change_apikey"))
