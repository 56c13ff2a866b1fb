"""Static files under addresses that name the version of all of them: `/static/<version>/console/js/page.js`.

Scripts import each other by relative paths, so that a page has all of one version, and browsers keep
it for good. A page of another version, open during an upgrade, gets the present files, which are not kept.
"""

import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedStaticFilesStorage

from objectvision.api.errors import too_many
from objectvision.api.throttles import StaticThrottle

DIGITS = 12
VERSIONED = re.compile(rf"{settings.STATIC_URL}([0-9a-f]{{{DIGITS}}})/")
FOREVER = "public, max-age=31536000, immutable"


@cache
def version() -> str:
    """Of the files that this process serves: the same wherever they are."""
    digest = sha256()
    for name, file in sorted(served_files()):
        digest.update(f"{name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:DIGITS]


def served_files() -> Iterator[tuple[str, Path]]:
    """Names and files: as set-up has collected them, or as the packages have them."""
    if settings.WHITENOISE_USE_FINDERS:
        for finder in finders.get_finders():
            for name, storage in finder.list([]):
                yield name, Path(storage.path(name))
        return
    for file in settings.STATIC_ROOT.rglob("*"):
        if file.is_file():
            yield str(file.relative_to(settings.STATIC_ROOT)), file


class VersionedStorage(CompressedStaticFilesStorage):  # type: ignore[misc]  # untyped library
    """What `{% static %}` links to."""

    def url(self, name: str | None) -> str:
        return super().url(f"{version()}/{name}")  # type: ignore[no-any-return]  # untyped library


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # untyped library
    """Answers with bytes: whitenoise's sync iterators cause warnings in Django under ASGI."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        versioned = VERSIONED.match(request.path_info)
        path = VERSIONED.sub(settings.STATIC_URL, request.path_info)
        file = self.find_file(path) if self.autorefresh else self.files.get(path)
        if file is None:
            return self.get_response(request)  # type: ignore[no-any-return]  # untyped library
        response = self.serve(file, request)
        if versioned and response.status_code < HTTPStatus.BAD_REQUEST:
            response.headers["Cache-Control"] = FOREVER if versioned[1] == version() else "no-cache"
        return response

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        throttle = StaticThrottle()
        if not throttle.admits(request):
            return too_many(throttle.wait())
        found = static_file.get_response(request.method, request.META)
        with found.file or BytesIO() as file:
            response = HttpResponse(file.read(), status=int(found.status))
        del response.headers["Content-Type"]
        for name, value in found.headers:
            response.headers[name] = value
        return response
