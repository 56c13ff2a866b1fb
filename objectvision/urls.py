from django.contrib import admin
from django.urls import include, path

from accounts.reset_page import ResetPasswordPage
from objectvision.health import PARTS, HealthView
from objectvision.pages import DocumentView, FaviconView, RedocView, SwaggerView

handler400 = "objectvision.errors.bad_request"
handler403 = "objectvision.errors.permission_denied"
handler404 = "objectvision.errors.not_found"
handler500 = "objectvision.errors.server_error"

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
    path("api/v1/", include("accounts.urls")),
    path("api/v1/", include("detections.urls")),
    path("api/v1/", include(pages)),
    path("", include(pages)),
    path("reset-password", ResetPasswordPage.as_view(), name="reset-password"),
    path("favicon.ico", FaviconView.as_view()),
    path("admin/", admin.site.urls),
]
