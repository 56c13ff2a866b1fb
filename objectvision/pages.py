"""The OpenAPI document and the pages that show it."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib.staticfiles import finders
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.utils.decorators import method_decorator
from django.views.generic import RedirectView
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from typing_extensions import override

from objectvision.api.negotiation import OneForm, not_modified
from objectvision.api.views import StrictView

REDOC = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
# Both pages insert style elements. Neither has an inline script.
STYLES = {"style-src": [SELF, UNSAFE_INLINE]}


@cache
def document() -> tuple[bytes, str]:
    """The document as JSON and its ETag: made once a process, since it takes most of a second."""
    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]  # the library's
    content: bytes = OpenApiJsonRenderer().render(schema, renderer_context={})
    return content, f'"{sha256(content).hexdigest()[:32]}"'


class DocumentView(StrictView):
    lenient_methods = SAFE_METHODS
    content_negotiation_class = OneForm
    permission_classes = (AllowAny,)
    authentication_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponseBase:
        content, tag = document()
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        return not_modified(request, headers) or HttpResponse(
            content, content_type=OpenApiJsonRenderer.media_type, headers=headers
        )


class Page(StrictView):
    """An HTML page whose errors have the API's form."""

    lenient_methods = SAFE_METHODS
    http_method_names = ("get", "head")

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # past the renderers
        response = super().handle_exception(exc)
        headers = {name: response[name] for name in ("Allow", "Retry-After") if name in response}
        return JsonResponse(response.data, status=response.status_code, headers=headers)


@method_decorator(csp_update(STYLES), name="dispatch")
class SwaggerView(Page, SpectacularSwaggerSplitView):
    pass


@method_decorator(csp_update({**STYLES, "worker-src": ["blob:"]}), name="dispatch")
class RedocView(Page, SpectacularRedocView):
    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "script" in request.query_params:
            headers = {"Cache-Control": "max-age=3600"}
            return HttpResponse(redoc_script(), content_type="text/javascript", headers=headers)
        page: HttpResponseBase = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # the library's
        return page


@cache
def redoc_script() -> bytes:
    """ReDoc without its request to another host for the maker's logo."""
    found = finders.find(REDOC)
    if not isinstance(found, str):
        raise FileNotFoundError(REDOC)
    return Path(found).read_bytes().replace(LOGO, NO_LOGO)


class FaviconView(RedirectView):
    """Browsers ask for /favicon.ico where a page names no icon."""

    @override
    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("objectvision/favicon.svg")
