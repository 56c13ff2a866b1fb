from collections.abc import Iterable
from contextlib import closing
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import CharField
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html_join

from detections.models import Detection, DetectionImage, Detector, Export
from detections.publication import moderation, showing
from detections.publication.models import REASON_LENGTH, PublicDetection, PublicReport
from detections.rendering import NoPictureError, annotated_picture, labels_of
from detections.storage import FileMissingError
from notifications.admin import ReadOnly
from objectvision.lib.limits import Busy, TooMany

OPEN_REPORTS = PublicReport.objects.open().filter(detection=OuterRef("pk"))


@admin.register(Detector)
class DetectorAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "version", "backend", "image_size", "is_default", "is_active", "created_at")
    ordering = ("name", "version", "backend")


class DetectionImageInline(ReadOnly, admin.TabularInline):
    model = DetectionImage
    fields = ("original_name", "state", "width", "height", "attempts", "error_code", "error", "processed_at")
    extra = 0
    ordering = ("pk",)


@admin.register(Detection)
class DetectionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = (
        "id", "user", "name", "status", "detector", "total", "processed", "failed", "is_public",
        "moderation", "created_at",
    )  # fmt: skip  # a list to read at a glance
    list_select_related = ("user", "detector")
    list_filter = ("status", "is_public", "moderation", "detector")
    search_fields = ("=id", "user__email", "name")
    exclude = ("request_hash", "idempotency_key")
    ordering = ("-id",)  # by creation, from the primary key's index
    inlines = (DetectionImageInline,)


@admin.register(Export)
class ExportAdmin(ReadOnly, admin.ModelAdmin):
    list_display = (
        "id", "user", "format", "status", "total", "processed", "attempts", "created_at", "expires_at",
    )  # fmt: skip  # a list to read at a glance
    list_select_related = ("user",)
    list_filter = ("status", "format")
    search_fields = ("=id", "user__email")
    ordering = ("-id",)  # by creation, from the primary key's index


class ModerationForm(ActionForm):
    reason = CharField(max_length=REASON_LENGTH, required=False, label="Reason of a rejection:")


class PublicReportInline(ReadOnly, admin.TabularInline):
    model = PublicReport
    fk_name = "detection"
    fields = ("created_at", "reason", "resolved_at")
    extra = 0
    ordering = ("-pk",)

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return bool(request.user.has_perm("detections.view_publicdetection"))


class HasReports(admin.SimpleListFilter):
    title = "reports"
    parameter_name = "reports"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Some are open")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_reported=True) if self.value() else queryset


@admin.register(PublicDetection)
class PublicDetectionAdmin(ReadOnly, admin.ModelAdmin):
    """Moderators need no right to see other detections."""

    list_display = ("picture", "user", "total", "moderation", "reported", "created_at")
    list_display_links = ("picture",)
    list_select_related = ("user",)
    list_filter = ("moderation", HasReports)
    list_per_page = 20  # a picture each
    search_fields = ("=id", "user__email")
    fields = ("user", "status", "moderation", "moderation_reason", "created_at", "names", "pictures")
    readonly_fields = ("names", "pictures")
    ordering = ("-id",)  # by creation, from the primary key's index
    inlines = (PublicReportInline,)
    action_form = ModerationForm
    actions = ("approve", "reject", "hide")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        published = super().get_queryset(request).filter(is_public=True)
        marked: QuerySet[Any] = published.annotate(is_reported=Exists(OPEN_REPORTS))
        return marked

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.picture_view)
        name = "detections_publicdetection_picture"
        return [path("pictures/<uuid:image_id>", view, name=name), *super().get_urls()]

    def picture_view(self, request: HttpRequest, image_id: UUID) -> HttpResponseBase:
        images = DetectionImage.objects.filter(detection__is_public=True).with_a_file()
        image = get_object_or_404(images.select_related("detector"), pk=image_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            picture = annotated_picture(image, labels_of(image, 0, ""), asked_by=request.user.pk)
        except (NoPictureError, FileMissingError) as error:
            raise Http404 from error
        except (Busy, TooMany) as error:
            return HttpResponse(str(error), status=503, content_type="text/plain")
        with closing(picture):
            return HttpResponse(b"".join(picture.blocks()), content_type="image/jpeg")

    @admin.display(description="Picture")
    def picture(self, detection: PublicDetection) -> str:
        return pictures_of(images_of(detection)[:1], width=160) or "None"

    @admin.display(description="Pictures")
    def pictures(self, detection: PublicDetection) -> str:
        return pictures_of(images_of(detection), width=480) or "None"

    @admin.display(description="Classes named by the owner")
    def names(self, detection: PublicDetection) -> str:
        return (
            format_html_join(", ", "“{}”", [[name] for name in showing.names_by_owner(detection)]) or "None"
        )

    @admin.display(description="Reported", boolean=True, ordering="is_reported")
    def reported(self, detection: Any) -> bool:
        return bool(detection.is_reported)

    def has_moderate_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("detections.change_publicdetection"))

    @admin.action(description="Approve, and resolve reports", permissions=["moderate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = moderation.approve(ids_of(queryset))
        self.message_user(request, f"{count} detections are approved.", messages.SUCCESS)

    @admin.action(description="Reject with a reason", permissions=["moderate"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "").strip()
        if not 0 < len(reason) <= REASON_LENGTH:
            text = f"Write a reason of 1 to {REASON_LENGTH} characters: the owner reads it."
            self.message_user(request, text, messages.ERROR)
            return
        count = moderation.reject(ids_of(queryset), reason)
        self.message_user(request, f"{count} detections are rejected.", messages.SUCCESS)

    @admin.action(description="Hide until staff approve it", permissions=["moderate"])
    def hide(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = moderation.hide(ids_of(queryset))
        self.message_user(request, f"{count} detections are hidden.", messages.SUCCESS)


def ids_of(detections: QuerySet[Any]) -> list[UUID]:
    return list(detections.order_by().values_list("pk", flat=True))


def images_of(detection: Detection) -> QuerySet[DetectionImage]:
    """All whose pictures may become visible: an approval is of those that are processed later, too."""
    return DetectionImage.objects.filter(detection=detection).with_a_file().order_by("pk")


def pictures_of(images: Iterable[DetectionImage], width: int) -> str:
    route = "admin:detections_publicdetection_picture"
    sources = [(reverse(route, args=[image.pk]), width) for image in images]
    return format_html_join(" ", '<img src="{}" width="{}" alt="Picture with boxes" loading="lazy">', sources)
