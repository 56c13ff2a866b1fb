from django.http import HttpRequest
from django.http.response import HttpResponseBase

from console.pages import PersonalPage


class DetectPage(PersonalPage):
    """Where pictures are uploaded."""

    def get(self, _request: HttpRequest) -> HttpResponseBase:
        return self.render("detect")
