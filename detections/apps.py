from django.apps import AppConfig


class DetectionsConfig(AppConfig):
    name = "detections"

    def ready(self) -> None:
        from detections import events

        events.register_bodies()
