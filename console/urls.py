from django.urls import path

from console.views import detect, entrance, history, mailed_links, public, result
from console.views.account import page as account
from console.views.account import webhooks

app_name = "console"
urlpatterns = [
    path("", detect.DetectPage.as_view(), name="detect"),
    path("console/cards", detect.CardsData.as_view(), name="cards"),
    path("console/service", detect.ServiceData.as_view(), name="service"),
    path("history", history.HistoryPage.as_view(), name="history"),
    path("history/cards", history.HistoryCards.as_view(), name="history-cards"),
    path("history/ids", history.HistoryIds.as_view(), name="history-ids"),
    path("login", entrance.LoginPage.as_view(), name="login"),
    path("results/<uuid:pk>", result.ResultPage.as_view(), name="result"),
    path("public", public.PublicPage.as_view(), name="public"),
    path("logout", entrance.LogoutPage.as_view(), name="logout"),
    path("account", account.AccountPage.as_view(), name="account"),
    path("account/keys", account.KeysPart.as_view(), name="account-keys"),
    path("account/sessions", account.SessionsPart.as_view(), name="account-sessions"),
    path("account/webhooks", account.WebhooksPart.as_view(), name="account-webhooks"),
    path("account/webhooks/<uuid:pk>", webhooks.WebhookPage.as_view(), name="webhook"),
    path("account/webhooks/<uuid:pk>/state", webhooks.WebhookStatePart.as_view(), name="webhook-state"),
    path("account/webhooks/<uuid:pk>/log", webhooks.WebhookLogPart.as_view(), name="webhook-log"),
    path("account/webhooks/<uuid:pk>/<uuid:delivery_id>", webhooks.DeliveryPage.as_view(), name="delivery"),
    path(
        "account/webhooks/<uuid:pk>/<uuid:delivery_id>/part",
        webhooks.DeliveryPart.as_view(),
        name="delivery-part",
    ),
    path("signup", entrance.SignupPage.as_view(), name="signup"),
    path("forgot-password", mailed_links.ForgotPasswordPage.as_view(), name="forgot-password"),
    path("verify-email", mailed_links.VerifyEmailPage.as_view(), name="verify-email"),
]
