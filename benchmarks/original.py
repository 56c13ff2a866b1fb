"""How the system worked that this one follows: torch, a Celery task for each image, `save()` for each row.

A worker of a stack runs the tasks, with the project's own rows, broker and settings.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Max

from accounts.models import User
from detections.inference.runtimes import import_ultralytics
from detections.inference.ultralytics_backend import predictor_without_warm_up
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from objectvision.celery import app

SIDE = 640
State = DetectionImage.State


@app.task(name="benchmarks.detect_image", queue="original")
def detect_image(image_id: str) -> None:
    image = DetectionImage.objects.select_related("detection").get(pk=image_id)
    path = default_storage.path(image.image_path)
    [found] = model().predict(path, imgsz=SIDE, predictor=predictor(), verbose=False)
    for row, (x, y, width, height) in zip(found.boxes.data.tolist(), found.boxes.xywhn.tolist(), strict=True):
        DetectionResult(
            user_id=image.user_id,
            detection=image.detection,
            image=image,
            object_class=found.names[int(row[5])],
            class_id=int(row[5]),
            confidence=row[4],
            bbox_x=x - width / 2,
            bbox_y=y - height / 2,
            bbox_width=width,
            bbox_height=height,
        ).save()
    image.state, image.processed_at = State.DONE, datetime.now(UTC)
    image.save()


@cache
def model() -> Any:
    """Random weights, which take as long as any other."""
    return import_ultralytics().YOLO("yolo26n.yaml", task="detect")


@cache
def predictor() -> Any:
    return predictor_without_warm_up()  # one class: for another one the model is set up again


def images_per_second(user_id: str, folder: str) -> float:
    """From the first row until the last image is processed. The detector is only named on the rows."""
    files = sorted(Path(folder).iterdir())
    user, detector = User.objects.get(pk=user_id), Detector.objects.get(is_default=True)
    started = time.time()
    detection = Detection.objects.create(user=user, detector=detector, total=len(files))
    for file in files:
        path = default_storage.save(f"users/{user_id}/{file.name}", ContentFile(file.read_bytes()))
        image = DetectionImage(detection=detection, user=user, detector=detector, image_path=path)
        image.state = State.CLAIMED  # no worker of the project's own takes it
        image.save()
        detect_image.delay(str(image.pk))
    while detection.images.filter(state=State.DONE).count() < len(files):
        time.sleep(0.25)
    last: datetime = detection.images.aggregate(at=Max("processed_at"))["at"]
    return len(files) / (last.timestamp() - started)
