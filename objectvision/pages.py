"""The API's document and the pages that show it."""

from django.http import JsonResponse
from django.http.response import HttpResponseBase
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.views import APIView

from objectvision.negotiation import OneForm


class DocumentView(SpectacularAPIView):
    renderer_classes = [OpenApiJsonRenderer]  # noqa: RUF012  # a list, as in the base
    content_negotiation_class = OneForm


class Page(APIView):
    """A page in HTML whose errors have the form of all others."""

    http_method_names = ("get", "head")

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # past the renderers
        response = super().handle_exception(exc)
        return JsonResponse(response.data, status=response.status_code)


class SwaggerView(Page, SpectacularSwaggerView):
    pass


class RedocView(Page, SpectacularRedocView):
    pass
