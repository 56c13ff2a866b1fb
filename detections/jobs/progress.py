from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import transaction

from detections import caching, events
from detections.jobs import snapshots
from detections.models import (
    COUNTED_FIELDS,
    OUTCOME_FIELDS,
    Claim,
    Detection,
    DetectionImage,
    DetectionResult,
)
from notifications import outbox
from notifications.models import Event
from objectvision.lib import rows, tracing, wakeups


def begin_detections(claim: Claim) -> None:
    """Mark the claim's pending detections as begun, and tell it."""
    if pending := claim.pending_detections:
        with tracing.span("begin", *claim.traceparents), transaction.atomic():
            begun = Detection.objects.begin(pending)
            events.write_events(begun)
            owners = {detection.user_id for detection in begun}
            caching.drop_after_commit(owners)
            wakeups.publish_after_commit(dict.fromkeys(owners, ""))


def begin_with_outcomes(claim: Claim, detections: Sequence[Detection]) -> list[Event]:
    """As `begin_detections`, for locked detections whose outcomes are at hand. Saves nothing."""
    pending = [detection for detection in detections if detection.status == Detection.Status.PENDING]
    if not pending:
        return []
    with tracing.span("begin", *claim.traceparents):
        for detection in pending:
            detection.begin(claim.at)
        return events.events_of(pending)


def recount_and_publish(
    detections: Sequence[Detection],
    images: Sequence[DetectionImage] = (),
    results: Sequence[DetectionResult] = (),
    begun: Sequence[Event] = (),
) -> None:
    """Save these images' outcomes and `results`, which are all of theirs, and count the detections' images.

    Detections that have ended by it are told, after those that have `begun`. Waiting requests and their
    owners' streams wake after the commit.
    """
    ended = Detection.objects.count_again(detections, images)
    rows.write(
        (results, ()),
        (images, OUTCOME_FIELDS),
        (detections, COUNTED_FIELDS),
        *outbox.rows_of([*begun, *events.events_of(ended)]),
    )
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
