"""The bases of all views: they refuse what their endpoint does not read."""

from collections.abc import Collection
from typing import Any, ClassVar, TypeVar

from django.db.models import Model
from rest_framework.exceptions import ErrorDetail, UnsupportedMediaType, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from objectvision.api.field_names import Faults, name_faults
from objectvision.api.fields import Repeatable
from objectvision.lib import logs

M = TypeVar("M", bound=Model)


class StrictView(APIView):
    """Refuses unknown and repeated parameters of the query string, and fields where it takes no body.

    The fields of a body are the serializer's to refuse (`StrictSerializer`).
    """

    # Reads the query string of a GET where no filter does. An action may have its own.
    query_serializer_class: Any = None
    filterset_class: Any = None
    # Methods that read a body.
    body_methods: ClassVar[Collection[str]] = ("POST", "PUT", "PATCH")
    # Methods that ignore unknown parameters: pages that people and probes open.
    lenient_methods: ClassVar[Collection[str]] = ()

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        logs.note(user_id=request.user.pk)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        is_served = str(request.method) in self.allowed_methods
        if is_served and request.method in self.body_methods:
            self.check_encoding()
        if is_served and (faults := {**self.parameter_faults(), **self.body_faults()}):
            self.check_object()
            raise ValidationError(faults)

    def check_encoding(self) -> None:
        """Raises UnsupportedMediaType: a compressed body would be read as one without fields."""
        encoding = self.request.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnsupportedMediaType(encoding, "Send the body without Content-Encoding.")

    def parameter_faults(self) -> Faults:
        sent = self.request.query_params
        if not sent or self.request.method in self.lenient_methods:
            return {}
        serializer_class = self.query_serializer_class if self.request.method in SAFE_METHODS else None
        fields = serializer_class().fields if serializer_class else {}
        lists = {name for name, field in fields.items() if isinstance(field, Repeatable)}
        return name_faults(sent, [*fields, *self.list_parameters()], lists)

    def list_parameters(self) -> list[str]:
        """The names of the parameters that choose the rows of a list."""
        if self.request.method not in SAFE_METHODS:
            return []
        paginator = getattr(self, "paginator", None)
        paging = paginator.get_schema_operation_parameters(self) if paginator else []
        filters = self.filterset_class.base_filters if getattr(self, "filter_backends", ()) else []
        return [*filters, *(parameter["name"] for parameter in paging)]

    def body_faults(self) -> Faults:
        if self.request.method in {*SAFE_METHODS, *self.body_methods} or not self.request.data:
            return {}
        no_object = {api_settings.NON_FIELD_ERRORS_KEY: [ErrorDetail("No body is taken here.", "invalid")]}
        return name_faults(self.request.data, ()) or no_object

    def check_object(self) -> None:
        """Raises Http404 where the path names an object that is not the caller's: 404 comes before 400."""

    def query(self) -> dict[str, Any]:
        """The validated query string. Raises ValidationError."""
        sent = self.request.query_params.lists()  # of which only lists have several values
        values = {name: texts if len(texts) > 1 else texts[0] for name, texts in sent}
        serializer = self.query_serializer_class(data=values)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data


class StrictGenericView(StrictView, GenericAPIView[Any]):
    pass


class StrictViewSet(StrictView, GenericViewSet[M]):
    def list_parameters(self) -> list[str]:
        return [] if self.action == "retrieve" else super().list_parameters()

    def check_object(self) -> None:
        if self.detail and self.request.user.is_authenticated:
            self.get_object()
