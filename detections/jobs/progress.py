from collections.abc import Collection

from django.db import transaction

from detections.models import Detection, DetectionImage
from objectvision.lib import wakeups


def recount_and_publish(detections: Collection[Detection], images: Collection[DetectionImage] = ()) -> None:
    """As `recount`. Waiting requests wake after the commit."""
    Detection.objects.recount(detections, images)
    ids = [detection.pk for detection in detections]

    def publish_changes() -> None:
        wakeups.publish(ids)

    transaction.on_commit(publish_changes, robust=True)
