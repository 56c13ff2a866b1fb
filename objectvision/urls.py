from django.contrib import admin
from django.urls import include, path

from accounts.api.pages import EndAccessPage, ResetPasswordPage
from detections.api.visitor_pages import PublicPage, SharedPage
from objectvision.health import PARTS, HealthView
from objectvision.monitoring.page import MetricsView
from objectvision.pages import DocumentView, FaviconView, RedocView, SwaggerView

handler400 = "console.errors.bad_request"
handler403 = "console.errors.permission_denied"
handler404 = "console.errors.not_found"
handler500 = "console.errors.server_error"

# For people and probes, who look for them without the API's prefix as well.
pages = [
    *(
        path(f"health{name}", HealthView.as_view(part=part, operation_id=f"check_{name[1:] or 'service'}"))
        for name, part in PARTS.items()
    ),
    path("openapi.json", DocumentView.as_view(), name="openapi"),
    path("docs", SwaggerView.as_view(url_name="openapi"), name="docs"),
    path("redoc", RedocView.as_view(url_name="openapi"), name="redoc"),
]
urlpatterns = [
    path("api/v1/", include("accounts.api.urls")),
    path("api/v1/", include("notifications.api.urls")),
    path("api/v1/", include("detections.api.urls")),
    path("api/v1/", include(pages)),
    path("", include(pages)),
    path("metrics", MetricsView.as_view()),
    path("reset-password", ResetPasswordPage.as_view(), name="reset-password"),
    path("end-access", EndAccessPage.as_view(), name="end-access"),
    path("p/<str:pk>", PublicPage.as_view(), name="public-page"),
    path("s/<str:token>", SharedPage.as_view(), name="shared-page"),
    path("favicon.ico", FaviconView.as_view()),
    path("admin/", admin.site.urls),
    path("", include("console.urls")),
]
