import re

from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware as DjangoGZipMiddleware
from django.utils.deprecation import MiddlewareMixin
from rest_framework.response import Response

from objectvision.lib import connections, logs

COMPRESSED_OVER_BYTES = 1000
TEXT = re.compile(r"text/|image/svg|application/(json|javascript|vnd\.oai)")


class AnswerMiddleware(MiddlewareMixin):
    """Sees every response last: private headers, and nothing kept while a slow client reads.

    By default no cache stores the response, and other sites may read it through CORS alone. The database
    connection goes back to the pool, and the data that was rendered, many times larger, is dropped.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        connections.give_back()
        if request.resolver_match:
            logs.note(route=simplify_regex(request.resolver_match.route))
        if isinstance(response, Response):
            response.data = None
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class GZipMiddleware(DjangoGZipMiddleware):
    """Compresses texts over 1,000 bytes. Django's begins at 200, and compresses pictures and streams."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_text = TEXT.match(response.headers.get("Content-Type", ""))
        if is_text and isinstance(response, HttpResponse) and len(response.content) > COMPRESSED_OVER_BYTES:
            return super().process_response(request, response)
        return response
