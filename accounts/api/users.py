"""Users and their settings."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import closing
from accounts.api.caller import (
    account_locked,
    confirm_password,
    current_credential,
    current_session,
    current_user,
    refuse_password,
)
from accounts.api.permissions import check_scope
from accounts.api.serializers import PasswordSerializer, UserSerializer, UserSettingsSerializer
from accounts.models import ApiKey, Scope, User, UserSettings
from objectvision.api.views import StrictViewSet


@extend_validation_errors(["wrong_password"], "password", actions=["retrieve", "partial_update", "destroy"])
class UserViewSet(RetrieveModelMixin, StrictViewSet[User]):
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT, "PATCH": Scope.ACCOUNT}
    serializer_class = UserSerializer
    queryset = User.objects.none()  # for the API's document, which is made without a user
    lookup_value_converter = "uuid"
    body_methods = ("PATCH", "DELETE")

    def get_queryset(self) -> QuerySet[User]:
        user = current_user(self.request)
        reads_all = user.is_staff and self.request.method in SAFE_METHODS
        return User.objects.all() if reads_all else User.objects.filter(pk=user.pk)

    @extend_schema(operation_id="get_user")
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A user.

        Yourself; staff may read all users.
        """
        return super().retrieve(request, *args, **kwargs)

    @extend_schema(operation_id="update_user")
    def partial_update(self, request: Request, *_: Any, **__: Any) -> Response:
        """Change my name.

        Only your own, for staff too.
        """
        serializer = self.get_serializer(self.get_object(), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        with account_locked(request) as user:
            user.rename(serializer.validated_data.get("name", user.name))
        return Response(self.get_serializer(user).data)

    @extend_schema(operation_id="delete_user", request=PasswordSerializer, responses={204: None})
    def destroy(self, request: Request, *_: Any, **__: Any) -> Response:
        """Delete my account.

        Asks for the password. Sessions and keys end at once, and the address is free again; a worker erases
        rows and files within seconds, or minutes where there are very many.
        """
        self.get_object()
        serializer = PasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = confirm_password(request, "password", serializer.validated_data["password"])
        if not closing.close_own(user, current_session(request)):
            refuse_password("password")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="get_profile")
    @action(detail=False, url_path="get-profile")
    def get_profile(self, request: Request) -> Response:
        """My profile.

        The user of the access token.
        """
        return Response(self.get_serializer(current_user(request)).data)


@extend_validation_errors(["invalid", "max_length", "null"], "default_classes")
class SettingsViewSet(StrictViewSet[UserSettings]):
    # Not in the router, which names rows by id: a user has one row.
    key_scopes: ClassVar = {"GET": Scope.ACCOUNT, "PATCH": Scope.ACCOUNT}
    serializer_class = UserSettingsSerializer

    @extend_schema(operation_id="get_settings")
    def retrieve(self, request: Request) -> Response:
        """My settings.

        The defaults, until you change them.
        """
        return Response(self.get_serializer(current_user(request).preferences).data)

    @extend_schema(operation_id="update_settings")
    def partial_update(self, request: Request) -> Response:
        """Change my settings.

        Settings that are not named stay as they are. `retention_days` deletes detections: for it API keys
        need the scope `detect` besides.
        """
        self.check_retention_scope(request)
        serializer = self.get_serializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        values = {**serializer.validated_data, "authorised_at": current_credential(request).authorised_at}
        with account_locked(request) as user:
            preferences, _ = UserSettings.objects.update_or_create(user=user, defaults=values)
        return Response(self.get_serializer(preferences).data)

    def check_retention_scope(self, request: Request) -> None:
        """Raises PermissionDenied: `retention_days` deletes detections, for which `account` is not enough."""
        key = request.auth
        if isinstance(key, ApiKey) and isinstance(request.data, dict) and "retention_days" in request.data:
            check_scope(key, Scope.DETECT)
