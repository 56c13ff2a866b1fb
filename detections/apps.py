from importlib import import_module

from django.apps import AppConfig


class DetectionsConfig(AppConfig):
    name = "detections"

    def import_models(self) -> None:
        super().import_models()
        import_module("detections.publication.models")

    def ready(self) -> None:
        from detections import events
        from detections.publication import mails

        events.register_bodies()
        mails.register_decision_mails()
