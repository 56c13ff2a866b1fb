"""Forms of the admin for log-ins and passwords."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.forms import AdminPasswordChangeForm as AdminOwnPasswordChangeForm
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.core.exceptions import PermissionDenied, ValidationError
from rest_framework.exceptions import AuthenticationFailed

from accounts import login_attempts, passwords
from accounts.models import User
from objectvision.api.throttles import LoginThrottle


def attempts_error(error: login_attempts.TooManyAttempts) -> ValidationError:
    return ValidationError(f"{error} Try again in {error.retry_after:.0f} seconds.", "too_many_tries")


class LoginForm(AdminAuthenticationForm):
    """Counts log-ins and wrong attempts together with those at the API."""

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if not data.get("username") or not data.get("password"):
            return data
        throttle = LoginThrottle()
        if not throttle.admits(self.request):
            raise ValidationError("Too many log-ins from your address; try again in a minute.", "throttled")
        try:
            user = login_attempts.log_in(self.request, data["username"], data["password"])
        except login_attempts.TooManyAttempts as error:
            raise attempts_error(error) from error
        if user is None:
            raise self.get_invalid_login_error()
        self.confirm_login_allowed(user)
        self.user_cache = user
        return data


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """As a change at the API: wrong attempts count with log-ins, sessions end, and a mail is sent."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            user = login_attempts.confirm_password(self.user, old)
        except login_attempts.TooManyAttempts as error:
            raise attempts_error(error) from error
        if user is None:
            raise ValidationError(self.error_messages["password_incorrect"], "password_incorrect")
        return old

    def save(self, *_: Any, **__: Any) -> User:
        return set_password(self.user, self.cleaned_data["new_password1"])


class OthersPasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """Writes the password alone: other fields may have changed since the row was read."""

    def save(self, *_: Any, **__: Any) -> User:
        is_usable = self.cleaned_data["set_usable_password"]
        return set_password(self.user, self.cleaned_data["password1"] if is_usable else None)


def set_password(user: User, password: str | None) -> User:
    """Raises PermissionDenied if the password was replaced or the account closed since the row was read."""
    try:
        is_changed = passwords.change(user, password, by=None)
    except AuthenticationFailed as error:
        raise PermissionDenied from error
    if not is_changed:
        raise PermissionDenied
    user.refresh_from_db()
    return user
