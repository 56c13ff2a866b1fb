from django.contrib import admin

from detections.models import Detection, DetectionImage, Detector, Export
from notifications.admin import ReadOnly


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
