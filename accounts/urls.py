from django.urls import path

from accounts import key_views, recovery_views, session_views, views

urlpatterns = [
    path("auth/signup", views.SignupView.as_view(), name="signup"),
    path("auth/login", views.LoginView.as_view(), name="login"),
    path("auth/refresh", views.RefreshView.as_view(), name="refresh"),
    path("auth/logout", views.LogoutView.as_view(), name="logout"),
    path("auth/logout-all", views.LogoutAllView.as_view(), name="logout-all"),
    path("auth/password/change", recovery_views.PasswordChangeView.as_view(), name="password-change"),
    path("auth/password/reset", recovery_views.PasswordResetView.as_view(), name="password-reset"),
    path(
        "auth/password/reset/confirm",
        recovery_views.PasswordResetConfirmView.as_view(),
        name="password-reset-confirm",
    ),
    path("auth/verify-email", recovery_views.VerifyEmailView.as_view(), name="verify-email"),
    path("auth/sessions", session_views.SessionsView.as_view(), name="sessions"),
    path("auth/sessions/<uuid:pk>", session_views.SessionView.as_view(), name="session"),
    path("users/api-keys", key_views.ApiKeysView.as_view(), name="api-keys"),
    path("users/api-keys/<uuid:pk>", key_views.ApiKeyView.as_view(), name="api-key"),
    path("users/get-profile", views.ProfileView.as_view(), name="profile"),
    path("users/settings", views.SettingsView.as_view(), name="settings"),
]
