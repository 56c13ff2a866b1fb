from django.apps import AppConfig


class ObjectVisionConfig(AppConfig):
    name = "objectvision"

    def ready(self) -> None:
        from objectvision import checks, heartbeats  # noqa: F401  # they register themselves
