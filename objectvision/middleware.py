import re
from io import BytesIO

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware as DjangoGZipMiddleware
from django.utils.deprecation import MiddlewareMixin
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

COMPRESSED_OVER_BYTES = 1000
TEXT = re.compile(r"text/|image/svg|application/(json|javascript|vnd\.oai)")


class PrivacyMiddleware(MiddlewareMixin):
    """Answers are for whoever asked: kept by nobody unless they say so, and no part of other sites' pages,
    which may read them by CORS alone."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:  # noqa: ARG002  # Django's signature
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class GZipMiddleware(DjangoGZipMiddleware):
    """Texts of some length; pictures are compressed already, and Django's own goes by 200 bytes."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_text = TEXT.match(response.headers.get("Content-Type", ""))
        if is_text and isinstance(response, HttpResponse) and len(response.content) > COMPRESSED_OVER_BYTES:
            return super().process_response(request, response)
        return response


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # untyped library
    """Answers with bytes: whitenoise streams by sync iterators, which Django under ASGI warns about."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        with found.file or BytesIO() as file:
            response = HttpResponse(file.read(), status=int(found.status))
        del response.headers["Content-Type"]
        for name, value in found.headers:
            response.headers[name] = value
        return response
