from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from detections.detectors.preparation import PreparationError
from detections.detectors.registry import choose_default
from detections.operations import demo

FEW = 5


class Command(BaseCommand):
    help = (
        "Makes the tables, the static files, the default detector and, in development, a demo account: all "
        "that serving needs."
    )

    def handle(self, **_: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        if not settings.DEPLOYED and not User.objects.filter(email=demo.EMAIL).exists():
            User.objects.create_user(demo.EMAIL, demo.PASSWORD, name="Demo")
        try:
            detector = choose_default()
        except PreparationError as error:
            raise CommandError(
                f"{error}\nSet MODEL_PATH to a .pt or .onnx file, an OpenVINO folder, an ultralytics name or "
                "bundled, and run this again."
            ) from error
        self.stdout.write(
            f"Detector: {detector}, which finds {found(detector.classes)}. To change it, set MODEL_PATH, or "
            "run manage.py prepare_detector NAME_OR_PATH --default."
        )


def found(classes: list[str]) -> str:
    return ", ".join(classes) if len(classes) <= FEW else f"{len(classes)} classes"
