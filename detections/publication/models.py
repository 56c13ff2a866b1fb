"""How results are shown to others: links that show private ones, and reports of public ones."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from detections.models import Detection

REASON_LENGTH = 500


class ShareLinkQuerySet(models.QuerySet["ShareLink"]):
    def alive(self) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def revoke(self) -> int:
        return self.alive().update(revoked_at=timezone.now())

    def delete_ended(self) -> int:
        """Delete links that ended more than `ShareLink.KEPT` ago. How many."""
        before = timezone.now() - ShareLink.KEPT
        return self.filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before)).delete()[0]


class ShareLink(models.Model):
    """Shows a detection to everybody who knows its token, of which only the SHA-256 is stored."""

    KEPT = timedelta(days=1)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    detection = models.ForeignKey(Detection, models.CASCADE, related_name="shares")
    token_hash = models.CharField(max_length=64, unique=True)
    use_count = models.PositiveIntegerField(default=0, help_text="How often it was opened.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ShareLinkQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["revoked_at"], name="detections_revoked_share", condition=~Q(revoked_at=None)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class PublicReportQuerySet(models.QuerySet["PublicReport"]):
    def open(self) -> Self:
        return self.filter(resolved_at=None)

    def resolve(self, detections: Collection[Any]) -> int:
        return self.open().filter(detection__in=detections).update(resolved_at=timezone.now())


class PublicReport(models.Model):
    """What a visitor has to say against a public detection."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    detection = models.ForeignKey(Detection, models.CASCADE, related_name="public_reports", db_index=False)
    reason = models.CharField(max_length=REASON_LENGTH)
    reporter_hash = models.CharField(
        max_length=64, help_text="Of the visitor's address and the detection, with a key."
    )
    created_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True, help_text="When staff decided on it.")

    objects = PublicReportQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["detection", "reporter_hash"], name="detections_report_once"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class PublicDetection(Detection):
    """What its owner has published, for the rights and the pages of moderators."""

    class Meta:
        proxy = True
        verbose_name = "public detection"
