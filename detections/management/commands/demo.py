from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detections.operations import demo
from detections.operations.demo_run import DemoClient, DemoError, running_server

ROW = "{:<20} {:>10} {:>8} {:>8} {:>8} {:>8}"


class Command(BaseCommand):
    help = "Does the main job without a person: starts a server of its own and sends it pictures over HTTP."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--photo", type=Path, help="a photo to send instead of the samples")
        parser.add_argument("--output", type=Path, help="folder of the annotated pictures (DATA_DIR/demo)")

    def handle(self, *, photo: Path | None, output: Path | None, **_: Any) -> None:
        if photo and not photo.is_file():
            raise CommandError(f"{photo} is no file.")
        data_dir = settings.DATA_DIR / "demo"
        data_dir.mkdir(parents=True, exist_ok=True)
        try:
            with running_server(data_dir) as url:
                self.show(DemoClient(url), photo, output or data_dir)
        except DemoError as error:
            raise CommandError(str(error)) from error

    def show(self, client: DemoClient, photo: Path | None, output: Path) -> None:
        client.sign_up()
        for picture in [photo] if photo else demo.samples(client.default_classes()):
            detection, annotated = client.detect(picture)
            self.print_results(detection)
            file = output / f"annotated-{picture.stem}.jpg"
            file.write_bytes(annotated)
            self.stdout.write(f"Annotated picture: {file}\n\n")

    def print_results(self, detection: dict[str, Any]) -> None:
        (image,) = detection["images"]
        self.stdout.write(f"{image['original_name']}, {image['width']} x {image['height']} pixels")
        self.stdout.write(ROW.format("class", "confidence", "x1", "y1", "x2", "y2"))
        for result in image["results"]:
            corners = [f"{result['bbox'][corner]:.0f}" for corner in ("x1", "y1", "x2", "y2")]
            self.stdout.write(ROW.format(result["object_class"], f"{result['confidence']:.2f}", *corners))
        if not image["results"]:
            self.stdout.write("Nothing found.")
