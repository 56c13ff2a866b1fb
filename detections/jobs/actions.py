"""Takes work back or gives it out again.

Detections are locked first, in id order, as workers do.
"""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from detections import events
from detections.jobs import backlog
from detections.jobs.progress import recount_and_publish
from detections.models import Detection, DetectionImage


def cancel(detection_id: UUID) -> None:
    """End a detection now, and keep its done work.

    Nothing happens if it has ended already. One that had ended before it was put back has no work that is not
    done: it is again as it was.
    """
    with transaction.atomic():
        detections = Detection.objects.filter(status__in=Detection.UNFINISHED).lock([detection_id])
        cancelled = detections if DetectionImage.objects.filter(detection__in=detections).cancel() else []
        for detection in cancelled:
            detection.status = Detection.Status.CANCELLED
            detection.finished_at = timezone.now()
        recount_and_publish(detections)
        events.write_events(cancelled)


def retry(detection_id: UUID) -> int:
    """Let the failed images that have a file wait again, as if never tried. How many.

    Raises backlog.TooManyWaiting.
    """
    with transaction.atomic():
        detections = Detection.objects.lock([detection_id])
        failed = DetectionImage.objects.filter(detection__in=detections, state=DetectionImage.State.FAILED)
        images = list(failed.with_a_file().select_related("user").order_by("pk"))
        for image in images:
            image.wait_again()
            image.priority = images[0].priority
        if images:
            backlog.lock_and_stamp(images[0].user, images)
        DetectionImage.objects.put_in_line(images)
        for detection in detections if images else ():
            if detection.is_finished:
                detection.reopen()
        recount_and_publish(detections)
    return len(images)
