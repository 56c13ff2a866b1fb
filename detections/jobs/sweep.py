"""Ends every state in which a detection could stick."""

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from detections.jobs.progress import recount_and_publish
from detections.models import LOCKED_AT_ONCE, MAX_ATTEMPTS, Detection, DetectionImage, DetectionResult
from objectvision.lib import metrics

FAILED = "processing_failed"


def sweep_detections() -> bool:
    """Release lapsed claims and finish ended detections. Whether any image waits."""
    release_lapsed_claims()
    finish_ended_detections()
    return DetectionImage.objects.waiting().exists()


def release_lapsed_claims() -> None:
    """Let images whose worker is gone wait again, or fail after their last attempt."""
    now = timezone.now()
    lapsed = DetectionImage.objects.lapsed(now)
    while ids := set(lapsed.values_list("detection", flat=True)[:LOCKED_AT_ONCE]):
        with transaction.atomic():
            detections = Detection.objects.lock(ids)
            claimed = lapsed.filter(detection__in=ids)
            exhausted = list(claimed.filter(attempts__gte=MAX_ATTEMPTS).select_related("detector"))
            claimed.filter(pk__in=[image.pk for image in exhausted]).update(
                state=DetectionImage.State.FAILED,
                claim=None,
                claimed_at=None,
                error_code=FAILED,
                error=f"The image could not be processed in {MAX_ATTEMPTS} attempts.",
                processed_at=now,
            )
            # Results of an earlier run go, as they do where an image is read and refused.
            failed = DetectionResult.objects.filter(image__state=DetectionImage.State.FAILED)
            failed.filter(image__in=exhausted).delete()
            claimed.put_back(counted=True)
            recount_and_publish(detections)
        for image in exhausted:
            metrics.count_failed(image.detector.full_name, [FAILED])


def finish_ended_detections() -> None:
    """Finish detections without open images: a net below the paths that end images."""
    open_images = DetectionImage.objects.filter(detection=OuterRef("pk"), state__in=DetectionImage.OPEN)
    ended = Detection.objects.filter(~Exists(open_images), status__in=Detection.UNFINISHED)
    while ids := list(ended.values_list("pk", flat=True)[:LOCKED_AT_ONCE]):
        with transaction.atomic():
            recount_and_publish(Detection.objects.lock(ids))
