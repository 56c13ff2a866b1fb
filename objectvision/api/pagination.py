"""Pages of lists."""

from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

MAX_DIGITS = 20  # int() takes quadratic time


class Pagination(LimitOffsetPagination):
    """`{"items", "total", "limit", "offset"}`. A limit outside 1..100 or a negative offset is refused."""

    default_limit = 10
    max_limit = 100
    largest_offset = 2**31 - 1

    def get_limit(self, request: Request) -> int:
        return whole_number(request, "limit", self.default_limit, 1, self.max_limit)

    def get_offset(self, request: Request) -> int:
        return whole_number(request, "offset", 0, 0, self.largest_offset)

    def paginate_queryset(
        self,
        queryset: Any,
        request: Request,
        view: APIView | None = None,  # noqa: ARG002  # DRF's signature
    ) -> list[Any]:
        """Rows are counted only if the first page does not show all of them."""
        self.request, self.limit, self.offset = request, self.get_limit(request), self.get_offset(request)
        page = [] if self.offset else list(queryset[: self.limit])
        if not self.offset and len(page) < self.limit:
            self.count = len(page)
            return page
        self.count = self.get_count(queryset)
        if self.offset < self.count:
            page = page or list(later_page(queryset, self.offset, self.limit, self.count))
        return page

    def get_schema_operation_parameters(self, _view: APIView) -> list[dict[str, Any]]:
        limit = {"minimum": 1, "maximum": self.max_limit, "default": self.default_limit}
        offset = {"minimum": 0, "maximum": self.largest_offset, "default": 0}
        return [
            {"name": name, "in": "query", "required": False, "schema": {"type": "integer", **bounds}}
            for name, bounds in (("limit", limit), ("offset", offset))
        ]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "total": self.count, "limit": self.limit, "offset": self.offset})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        numbers = {
            "total": {"type": "integer", "minimum": 0, "example": 1},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": self.max_limit,
                "example": self.default_limit,
            },
            "offset": {"type": "integer", "minimum": 0, "example": 0},
        }
        return {
            "type": "object",
            "required": ["items", *numbers],
            "properties": {"items": schema, **numbers},
        }


def later_page(queryset: Any, offset: int, limit: int, total: int) -> Any:
    """The rows by their keys alone: indexes have these, so rows that are passed over are not read.

    They are counted from the end that is nearer.
    """
    keys, first, past = queryset.values("pk"), offset, min(offset + limit, total)
    if first > total - past:
        keys, first, past = keys.reverse(), total - past, total - first
    rows = queryset.all()
    rows.query.clear_where()  # the keys fulfil the conditions
    return rows.filter(pk__in=keys[first:past])


def whole_number(request: Request, name: str, default: int, low: int, high: int) -> int:
    value = request.query_params.get(name)
    if value is None:
        return default
    if value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS and low <= int(value) <= high:
        return int(value)
    detail = ErrorDetail(f"{name} must be a whole number from {low} to {high}.", "invalid")
    raise ValidationError({name: [detail]})
