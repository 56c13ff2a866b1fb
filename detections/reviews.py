"""What owners say about results: accepted, rejected, of another class; and the boxes that they add.

The model's own answer is never overwritten. Detections are locked first, as workers do: results do not change
under a review, and reprocessing leaves alone what was reviewed before it.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from detections import caching
from detections.models import Detection, DetectionImage, DetectionResult

Review = DetectionResult.Review

MOST_ADDED = 1_000  # boxes of an image
CERTAIN = 1.0


class ReviewError(Exception):
    """The result or its image cannot be reviewed so. The text is for its owner."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def locked(detection: Detection) -> Iterator[None]:
    """The detection's results are about to change.

    Raises Detection.DoesNotExist if it was deleted meanwhile.
    """
    with transaction.atomic():
        if not Detection.objects.lock([detection.pk]):
            raise Detection.DoesNotExist
        yield
        detection.change()  # its answers have another ETag
        caching.drop_after_commit([detection.user_id])


def review_result(detection: Detection, result_id: UUID, changes: Mapping[str, Any]) -> DetectionResult:
    """Accept, reject or relabel a result, or take its review back.

    `changes` may have `review` and `object_class`, its right class: a result with one is accepted. Raises
    ReviewError, DetectionResult.DoesNotExist.
    """
    with locked(detection):
        result = find_result(detection, result_id)
        check_processed(result.image)
        review = changes.get("review", Review.ACCEPTED)
        if review == Review.NONE and result.is_added:
            raise ReviewError("added_box", "This box was added: it can be rejected or deleted.")
        object_class = changes.get("object_class", result.final_class)
        if review == Review.ACCEPTED:
            submit_name(result.image, object_class)
        write_review(result, review, object_class)
    return result


def submit_name(image: DetectionImage, name: str) -> None:
    """Let an approved detection wait for staff again if this name is new text, which they have not seen."""
    if not settings.MODERATION_REQUIRED or name in image.detector.classes:
        return
    results = DetectionResult.objects.filter(detection=image.detection_id).not_rejected()
    if not results.of_final_class([name]).exists():
        approved = Detection.objects.filter(pk=image.detection_id, moderation=Detection.Moderation.APPROVED)
        approved.update(moderation=Detection.Moderation.PENDING)


def write_review(result: DetectionResult, review: str, object_class: str) -> None:
    is_other = review == Review.ACCEPTED and object_class != result.object_class
    values = {
        **reviewed(result.user_id, review),
        "reviewed_class": object_class if is_other else "",
    }
    for name, value in values.items():
        setattr(result, name, value)
    result.save(update_fields=values)


def reviewed(by: UUID, review: str) -> dict[str, Any]:
    """The values of a result that was reviewed now."""
    if review == Review.NONE:
        return DetectionResult.UNREVIEWED
    return {"review": review, "reviewed_by": by, "reviewed_at": timezone.now()}


def review_results(
    detection: Detection,
    review: str,
    min_confidence: float = 0,
    max_confidence: float = 1,
    classes: Collection[str] | None = None,
) -> int:
    """Accept or reject the model's results that were not reviewed, or take reviews back. How many.

    Chosen are results of done images between these confidences, both included, and of these classes of the
    model's; None: of all.
    """
    with locked(detection):
        done = list(detection.images.filter(state=DetectionImage.State.DONE).values_list("pk", flat=True))
        results = detection.results.found_by_models().filter(
            image__in=done, confidence__gte=min_confidence, confidence__lte=max_confidence
        )
        if classes is not None:
            results = results.filter(object_class__in=classes)
        if review == Review.NONE:
            return results.reviewed().update(**reviewed(detection.user_id, review))
        return results.filter(review=Review.NONE).update(**reviewed(detection.user_id, review))


def add_result(
    detection: Detection, image_id: UUID, object_class: str, box: Mapping[str, float]
) -> DetectionResult:
    """Add a box, in shares of the upright image, that the model has missed.

    Raises ReviewError, DetectionImage.DoesNotExist.
    """
    with locked(detection):
        image = detection.images.select_related("detector").get(pk=image_id)
        check_processed(image)
        if image.results.filter(source=DetectionResult.Source.PERSON).count() >= MOST_ADDED:
            text = f"{MOST_ADDED:,} boxes were added to this image already."
            raise ReviewError("too_many_boxes", text)
        submit_name(image, object_class)
        return DetectionResult.objects.create(
            user_id=detection.user_id,
            detection=detection,
            image=image,
            object_class=object_class,
            class_id=image.detector.number_of(object_class),
            confidence=CERTAIN,
            **{f"bbox_{name}": value for name, value in box.items()},
            source=DetectionResult.Source.PERSON,
            **reviewed(detection.user_id, Review.ACCEPTED),
        )


def delete_result(detection: Detection, result_id: UUID) -> None:
    """Delete an added box. Raises ReviewError, DetectionResult.DoesNotExist."""
    with locked(detection):
        result = find_result(detection, result_id)
        if not result.is_added:
            raise ReviewError("not_added", "This is the model's answer, which stays: reject it instead.")
        result.delete()


def find_result(detection: Detection, result_id: UUID) -> DetectionResult:
    found: DetectionResult = detection.results.select_related("image__detector").get(pk=result_id)
    return found


def check_processed(image: DetectionImage) -> None:
    """Raises ReviewError: the results may be about to be replaced."""
    if not image.processed:
        text = f"The image is {image.state}; its results can be reviewed once it is done."
        raise ReviewError("not_processed", text)
