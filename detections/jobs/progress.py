from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from django.db import transaction

from detections import caching, events
from detections.jobs import snapshots
from detections.models import Claim, Detection, DetectionImage, DetectionResult
from objectvision.lib import wakeups


def begin_detections(claim: Claim) -> None:
    """Mark the claim's pending detections as begun, and tell it."""
    if pending := claim.pending_detections:
        with transaction.atomic():
            begun = Detection.objects.begin(pending)
            events.write_events(begun)
            owners = {detection.user_id for detection in begun}
            caching.drop_after_commit(owners)
            wakeups.publish_after_commit(dict.fromkeys(owners, ""))


def recount_and_publish(
    detections: Collection[Detection],
    images: Collection[DetectionImage] = (),
    results: Collection[DetectionResult] = (),
) -> None:
    """As `recount`, and tell which detections have ended by it.

    Waiting requests and their owners' streams wake after the commit; `results` are all of the images'.
    """
    events.write_events(Detection.objects.recount(detections, images))
    texts = texts_of(detections, images, results)
    owners = {detection.user_id for detection in detections}
    caching.drop_after_commit(owners)
    wakeups.publish_after_commit({**texts, **dict.fromkeys(owners, "")})


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
