from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ObjectVisionConfig(AppConfig):
    name = "objectvision"

    def ready(self) -> None:
        for module in ("checks", "heartbeats"):  # they register themselves
            import_module(f"objectvision.{module}")


class StaffAdminConfig(admin_apps.AdminConfig):
    default = False  # the config of `objectvision` itself is the one above
    default_site = "objectvision.admin_site.StaffSite"
