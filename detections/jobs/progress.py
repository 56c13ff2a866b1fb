from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from django.db import transaction

from detections import caching
from detections.jobs import snapshots
from detections.models import Claim, Detection, DetectionImage, DetectionResult
from objectvision.lib import wakeups


def begin_detections(claim: Claim) -> None:
    """Mark the claim's pending detections as begun."""
    if pending := claim.pending_detections:
        Detection.objects.begin(pending)
        caching.drop_after_commit(image.user_id for image in claim.images)


def recount_and_publish(
    detections: Collection[Detection],
    images: Collection[DetectionImage] = (),
    results: Collection[DetectionResult] = (),
) -> None:
    """As `recount`. Waiting requests wake after the commit; `results` are all of the images'."""
    Detection.objects.recount(detections, images)
    texts = texts_of(detections, images, results)
    caching.drop_after_commit(detection.user_id for detection in detections)

    def publish_changes() -> None:
        wakeups.publish(texts)

    transaction.on_commit(publish_changes, robust=True)


def texts_of(
    detections: Collection[Detection],
    images: Collection[DetectionImage],
    results: Collection[DetectionResult],
) -> dict[UUID, str]:
    """The snapshot of each detection, empty where there is none."""
    image_of = {image.detection_id: image for image in images}
    results_of: dict[UUID, list[DetectionResult]] = defaultdict(list)
    for result in results:
        results_of[result.detection_id].append(result)
    return {
        detection.pk: snapshots.taken(detection, image_of.get(detection.pk), results_of[detection.pk])
        for detection in detections
    }
