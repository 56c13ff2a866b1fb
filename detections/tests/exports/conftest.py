import pytest
from django.utils import timezone

from detections.models import Detection, DetectionImage, DetectionResult
from detections.tests.exports.reading import HEIGHT, WIDTH


@pytest.fixture
def fill(detector):
    """Creates `count` detections of one image with `each` results at whole pixels."""

    def fill(user, count, each, name="photo.jpg"):
        detections = Detection.objects.bulk_create(
            Detection(user=user, detector=detector, status="completed", total=1, processed=1)
            for _ in range(count)
        )
        images = DetectionImage.objects.bulk_create(
            DetectionImage(
                detection=detection, user=user, detector=detector, original_name=name, state="done",
                image_path="users/x/images/x.jpg", width=WIDTH, height=HEIGHT, processed_at=timezone.now(),
            )
            for detection in detections
        )  # fmt: skip
        DetectionResult.objects.bulk_create(
            DetectionResult(
                user=user, detection=image.detection, image=image,
                object_class=("alpha", "beta")[number % 2], class_id=number % 2,
                confidence=(number * 37 % 100) / 100,
                bbox_x=(number * 7 % 300) / WIDTH, bbox_y=(number * 11 % 200) / HEIGHT,
                bbox_width=(1 + number % 300) / WIDTH, bbox_height=(1 + number % 200) / HEIGHT,
            )
            for image in images
            for number in range(each)
        )  # fmt: skip
        return detections

    return fill
