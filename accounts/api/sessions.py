from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.mixins import DestroyModelMixin, ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import account_locked, current_session, current_user
from accounts.api.serializers import SessionSerializer, TicketSerializer
from accounts.models import Session, SessionQuerySet, Ticket
from accounts.tokens import issue_ticket
from objectvision.api.pagination import Pagination
from objectvision.api.views import StrictView, StrictViewSet


class SessionViewSet(ListModelMixin, DestroyModelMixin, StrictViewSet[Session]):
    queryset = Session.objects.none()  # for the API's document, which is made without a user
    serializer_class = SessionSerializer
    pagination_class = Pagination
    lookup_value_converter = "uuid"

    def get_queryset(self) -> SessionQuerySet:
        return current_user(self.request).sessions.alive().order_by("-created_at", "-id")

    @extend_schema(operation_id="list_sessions")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """My sessions.

        Where you are logged in, the latest log-in first.
        """
        return super().list(request, *args, **kwargs)

    @extend_schema(operation_id="end_session")
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End a session.

        Both of its tokens are refused from now on. It may be the session of this request.
        """
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: Session) -> None:
        with account_locked(self.request):
            Session.objects.filter(pk=instance.pk).revoke()


class TicketView(StrictView):
    body_methods = ()

    @extend_schema(operation_id="create_ticket", request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """Get a ticket.

        It opens one stream, `/ws/?ticket=…` or `/api/v1/events?ticket=…`, within the time that it says:
        browsers can send no `Authorization` there. It ends with your session.
        """
        ticket = issue_ticket(current_session(request))
        return Response({"ticket": ticket, "expires_in": int(Ticket.LASTS.total_seconds())})
