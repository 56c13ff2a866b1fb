from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import DestroyAPIView, GenericAPIView, ListAPIView

from accounts.models import Session, SessionQuerySet
from accounts.serializers import SessionSerializer
from accounts.views import own_sessions
from objectvision.pagination import Pagination


class OwnSessionsView(GenericAPIView[Session]):
    queryset = Session.objects.none()  # for the API's document, which nobody asks for
    serializer_class = SessionSerializer

    def get_queryset(self) -> SessionQuerySet:
        return own_sessions(self.request).alive()


@extend_schema_view(
    get=extend_schema(
        operation_id="list_sessions",
        summary="My sessions",
        description="Where you are logged in, the latest log-in first.",
        tags=["auth"],
    )
)
class SessionsView(OwnSessionsView, ListAPIView[Session]):
    pagination_class = Pagination

    def get_queryset(self) -> SessionQuerySet:
        return super().get_queryset().order_by("-created_at", "-id")


@extend_schema_view(
    delete=extend_schema(
        operation_id="end_session",
        summary="End a session",
        description="Both of its tokens are refused from now on. It may be the one that asks.",
        tags=["auth"],
    )
)
class SessionView(OwnSessionsView, DestroyAPIView[Session]):
    def perform_destroy(self, instance: Session) -> None:
        Session.objects.filter(pk=instance.pk).revoke()
