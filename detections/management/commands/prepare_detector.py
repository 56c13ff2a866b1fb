from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detections.detectors import registry
from detections.detectors.preparation import PreparationError
from detections.models import Detector


class Command(BaseCommand):
    help = (
        "Takes weights, exports them once for this hardware, tries them on an image and registers them as a "
        "detector. Only give it weights that you trust: a .pt file can run code."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source",
            help="a .pt or .onnx file, an OpenVINO folder, an ultralytics name like yolo26n.pt, or bundled",
        )
        parser.add_argument(
            "--backend",
            choices=["auto", "openvino", "ultralytics"],
            default="auto",
            help="auto (the default) takes ultralytics where there is a CUDA GPU, else openvino",
        )
        parser.add_argument("--default", action="store_true", help="run new detections on it")

    def handle(self, *, source: str, backend: str, default: bool, **_: Any) -> None:
        try:
            detector = registry.register(source, backend=backend, default=default)
        except PreparationError as error:
            raise CommandError(str(error)) from error
        state = "the default" if detector == Detector.objects.default() else "not the default"
        self.stdout.write(f"Prepared {detector} with {len(detector.classes)} classes; it is {state}.")
