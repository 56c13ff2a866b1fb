from importlib import import_module

from django.urls import path
from rest_framework.routers import SimpleRouter

from accounts.api import (
    api_keys,
    login,
    passwords,
    sessions,
    users,
    verification,
)

import_module("accounts.api.schema")  # drf-spectacular finds extensions by their import

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("auth/sessions", sessions.SessionViewSet, basename="session")
router.register("users/api-keys", api_keys.ApiKeyViewSet, basename="api-key")
router.register("users", users.UserViewSet, basename="user")

own_settings = users.SettingsViewSet.as_view({"get": "retrieve", "patch": "partial_update"})

urlpatterns = [
    path("auth/signup", login.SignupView.as_view(), name="signup"),
    path("auth/login", login.LoginView.as_view(), name="login"),
    path("auth/refresh", login.RefreshView.as_view(), name="refresh"),
    path("auth/logout", login.LogoutView.as_view(), name="logout"),
    path("auth/logout-all", login.LogoutAllView.as_view(), name="logout-all"),
    path("auth/ws-ticket", sessions.TicketView.as_view(), name="ticket"),
    path("auth/password/change", passwords.PasswordChangeView.as_view(), name="password-change"),
    path("auth/password/reset", passwords.PasswordResetView.as_view(), name="password-reset"),
    path(
        "auth/password/reset/confirm",
        passwords.PasswordResetConfirmView.as_view(),
        name="password-reset-confirm",
    ),
    path("auth/verify-email", verification.VerifyEmailView.as_view(), name="verify-email"),
    path("users/settings", own_settings, name="settings"),
    *router.urls,
]
