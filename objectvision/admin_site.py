"""The site of the staff's pages. `objectvision.apps.StaffAdminConfig` makes it Django's default site."""

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db import DataError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from accounts.forms import LoginForm, OwnPasswordForm
from objectvision.lib import logs

View = TypeVar("View", bound=Callable[..., HttpResponseBase])
# Raised by Django and the database for a value, of a query or a selection, that its field cannot have.
INVALID_VALUE_ERRORS = (ValidationError, ValueError, OverflowError, DataError)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts rows up to a bound: without one, COUNT(*) reads a whole table for every page of the list.

    Rows beyond the bound are found by filters and the search.
    """

    MAX_COUNT = 10_000

    @cached_property
    def count(self) -> int:
        """One more than `MAX_COUNT` if there are more rows."""
        rows: Any = self.object_list  # a QuerySet
        return int(rows.order_by()[: self.MAX_COUNT + 1].count())


class StaffSite(AdminSite):
    site_header = site_title = "ObjectVision"
    index_title = "Staff"
    site_url = "/docs"
    login_form = LoginForm

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """As Django's, with lists that count their rows up to a bound."""
        bounded = {"paginator": BoundedPaginator, "show_full_result_count": False}
        super().register(model_or_iterable, admin_class, **bounded, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        logs.note(user_id=request.user.pk)
        return super().has_permission(request)

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return super().admin_view(refuse_invalid_values(view), cacheable)

    def password_change(  # type: ignore[override]  # the stubs know no redirect
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)


def refuse_invalid_values(view: View) -> View:
    """Answers 400 to values in the address or the form to which Django's views answer 500."""

    @wraps(view)
    def checked_view(request: HttpRequest, *arguments: Any, **options: Any) -> HttpResponseBase:
        if any("regex" in name for name in request.GET):  # the database may spend hours on one
            raise BadRequest("The admin takes no regular expressions.")
        try:
            return view(request, *arguments, **options)
        except INVALID_VALUE_ERRORS as error:
            raise BadRequest("A value is not valid here.") from error

    return cast(View, checked_view)
