from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7


def delete_aged(rows: models.QuerySet[Any]) -> int:
    """Delete those that are older than their model's `KEPT`, as their ids tell, in chunks. How many."""
    kept: Any = rows.model
    outdated = rows.filter(pk__lt=first_id_at(timezone.now() - kept.KEPT)).order_by("pk")
    count = 0
    while ids := list(outdated.values_list("pk", flat=True)[: kept.DELETED_AT_ONCE]):
        count += rows.filter(pk__in=ids).delete()[0]
    return count


class EventQuerySet(models.QuerySet["Event"]):
    def since(self, moment: datetime) -> Self:
        """The events that were made then or later, oldest first."""
        return self.filter(pk__gte=first_id_at(moment)).order_by("pk")

    def delete_outdated(self) -> int:
        return delete_aged(self)


def first_id_at(moment: datetime) -> UUID:
    """The lowest UUID of version 7 that can be made then, or up to a millisecond earlier (RFC 9562)."""
    milliseconds = min(max(0, int(moment.timestamp() * 1000)), 2**48 - 1)
    return UUID(int=milliseconds << 80)


class Event(models.Model):
    """What happened to a user's work, written in the transaction of the change that it describes.

    Its id tells when: ids are UUIDs of version 7, and events are read and deleted in their order.
    """

    class Type(models.TextChoices):
        DETECTION_STARTED = "detection.started"
        DETECTION_COMPLETED = "detection.completed"
        DETECTION_FAILED = "detection.failed"
        DETECTION_CANCELLED = "detection.cancelled"
        DETECTION_APPROVED = "detection.approved"
        DETECTION_REJECTED = "detection.rejected"
        EXPORT_COMPLETED = "export.completed"
        EXPORT_FAILED = "export.failed"
        WEBHOOK_DISABLED = "webhook.disabled"

    KEPT = timedelta(days=7)
    DELETED_AT_ONCE = 1000

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="events", db_index=False)
    type = models.CharField(max_length=30, choices=Type)
    subject_id = models.UUIDField(help_text="The detection, export or webhook that it is about.")
    data = models.JSONField(default=dict, help_text="The subject as the change left it.")
    # Defaults of the database's too: processes of the version before write none.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=timezone.now)

    objects = EventQuerySet.as_manager()

    class Meta:
        # Of a user since a time; the first column serves the foreign key.
        indexes: ClassVar = [models.Index(fields=["user", "id"], name="notifications_event_of_user")]

    def __str__(self) -> str:
        return f"{self.type} {self.subject_id}"
