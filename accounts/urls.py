from django.urls import path

from accounts import recovery_views, views

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
    path("users/get-profile", views.ProfileView.as_view(), name="profile"),
    path("users/settings", views.SettingsView.as_view(), name="settings"),
    path("users/<uuid:pk>", views.UserView.as_view(), name="user"),
]
