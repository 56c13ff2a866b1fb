import gc
from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps

from objectvision.lib import tracing

if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
    tracing.import_redis_alone()  # before the models, which import it


class ObjectVisionConfig(AppConfig):
    name = "objectvision"

    def ready(self) -> None:
        for module in ("checks", "lib.heartbeats", "task_lines"):  # they register themselves
            import_module(f"objectvision.{module}")
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            tracing.begin_recording()
        if settings.SENTRY_DSN:
            import_module("objectvision.sentry").begin()
        gc.freeze()  # loaded modules stay: collections need not look at them
        gc.enable()  # who starts the process may have disabled it


class StaffAdminConfig(admin_apps.AdminConfig):
    default = False  # the config of `objectvision` itself is the one above
    default_site = "objectvision.admin_site.StaffSite"
