"""Turns, claims, queue positions and the states of detections: the rows are the queue."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from detections.models import Detection, DetectionImage, DetectionResult, Detector

CHUNK = 16
State = DetectionImage.State


@pytest.fixture
def queue(detector):
    """Waiting images of one detection, without files, in the order of their turns: `queue(user, 3)`."""

    def queue(user, count=1, detector=detector):
        detection = Detection.objects.create(user=user, detector=detector, total=count)
        priority = DetectionImage.Priority.SINGLE if count == 1 else DetectionImage.Priority.BATCH
        images = [
            DetectionImage(detection=detection, user=user, detector=detector, priority=priority)
            for _ in range(count)
        ]
        DetectionImage.objects.stamp_turns(images)
        return DetectionImage.objects.bulk_create(images)

    return queue


@pytest.fixture
def other_detector(detector):
    return Detector.objects.create(
        name="other",
        version="1",
        sha256="1" * 64,
        path="other",
        backend="openvino",
        image_size=64,
        classes=["a"],
    )


def claim(detector, count=CHUNK):
    claimed = DetectionImage.objects.claim(detector, count)
    return [image.pk for image in claimed.images] if claimed else []


def claim_all(detector):
    """Every waiting image, in the order in which they are claimed one by one."""
    order = []
    while claimed := claim(detector, 1):
        order += claimed
    return order


def ids(images):
    return [image.pk for image in images]


def test_ids_are_uuids_of_version_7_and_rise_with_time(queue, user):
    first, second = queue(user)[0], queue(user)[0]
    assert (first.pk.version, first.detection_id.version) == (7, 7)
    assert first.pk < second.pk


# Fair turns


def test_a_photo_is_claimed_in_the_next_chunk_after_1000_of_another_user(queue, user, stranger, detector):
    queue(user, 1000)
    assert len(claim(detector)) == CHUNK
    (photo,) = queue(stranger)
    assert photo.pk in claim(detector)


def test_a_single_photo_passes_the_batch_of_the_same_user(queue, user, detector):
    batch = queue(user, 100)
    (photo,) = queue(user)
    assert claim_all(detector)[:3] == [batch[0].pk, photo.pk, batch[1].pk]


def test_batches_of_two_users_are_claimed_alternately(queue, user, stranger, detector):
    mine = queue(user, 20)
    queue(stranger, 20)
    owners = [image_id in ids(mine) for image_id in claim(detector)]
    assert sorted(owners) == [False] * 7 + [True] * 9


def test_single_photos_of_one_user_are_claimed_in_order(queue, user, detector):
    photos = [queue(user)[0] for _ in range(5)]
    assert claim_all(detector) == ids(photos)


@pytest.mark.parametrize("stuck", [0, 1])
def test_a_batch_does_not_starve_behind_16_clients_that_keep_sending_photos(
    queue, user, stranger, django_user_model, detector, other_detector, stuck
):
    """Each client sends its next photo once the last is done; an image of a broken detector may wait too."""
    if stuck:
        queue(stranger, stuck, other_detector)
    clients = [django_user_model.objects.create(email=f"client-{number}@example.com") for number in range(16)]
    for client in clients:
        queue(client)
    batch = set(ids(queue(user, 8)))
    chunks = 0
    while batch:
        chunks += 1
        assert chunks <= 16
        done = DetectionImage.objects.filter(pk__in=claim(detector))
        owners = list(done.values_list("user", flat=True))
        batch -= set(done.values_list("pk", flat=True))
        done.update(state=State.DONE)
        for client in clients:
            if client.pk in owners:
                queue(client)


def test_a_turn_follows_the_users_highest_and_the_lowest_waiting_turn(queue, user, stranger, detector):
    assert [image.turn for image in queue(user, 3)] == [1, 2, 3]
    assert [image.turn for image in queue(user, 2)] == [4, 5]
    assert [image.turn for image in queue(stranger, 2)] == [2, 3]
    assert [image.turn for image in queue(user)] == [2]
    assert claim_all(detector)
    assert [image.turn for image in queue(user)] == [1]


# Claims


def test_a_claim_marks_its_images_and_nothing_else(queue, user, detector):
    images = queue(user, 3)
    before = timezone.now()
    claimed = DetectionImage.objects.claim(detector, 2)
    assert ids(claimed.images) == ids(images[:2])
    assert claimed.detections == {images[0].detection_id}
    for image in DetectionImage.objects.filter(pk__in=ids(images[:2])):
        assert (image.state, image.claim, image.attempts) == (State.CLAIMED, claimed.fence, 1)
        assert before <= image.claimed_at <= timezone.now()
    left = DetectionImage.objects.get(pk=images[2].pk)
    assert (left.state, left.claim, left.claimed_at, left.attempts) == (State.WAITING, None, None, 0)


def test_nothing_is_claimed_when_no_image_waits_for_the_detector(queue, user, detector, other_detector):
    assert DetectionImage.objects.claim(detector, CHUNK) is None
    queue(user, detector=other_detector)
    assert DetectionImage.objects.claim(detector, CHUNK) is None


def test_no_image_is_claimed_twice(queue, user, detector):
    images = queue(user, 5)
    assert claim(detector, 3) + claim(detector, 3) == ids(images)
    assert claim(detector, 3) == []


def test_images_are_claimed_by_turn_then_priority_then_id(queue, user, detector):
    images = queue(user, 6)
    places = [(2, 0), (1, 1), (1, 0), (1, 0), (2, 0), (1, 1)]
    for image, (image.turn, image.priority) in zip(images, places, strict=True):
        image.save()
    assert claim(detector) == [images[index].pk for index in (2, 3, 1, 5, 0, 4)]


def test_a_retried_image_is_claimed_alone(queue, user, detector):
    images = queue(user, 5)
    DetectionImage.objects.filter(pk=images[2].pk).update(attempts=1)
    assert [claim(detector) for _ in range(3)] == [ids(images[:2]), [images[2].pk], ids(images[3:])]


def test_retried_images_are_claimed_one_by_one(queue, user, detector):
    images = queue(user, 3)
    DetectionImage.objects.update(attempts=2)
    assert [claim(detector) for _ in range(4)] == [[image.pk] for image in images] + [[]]


@pytest.mark.postgresql
def test_concurrent_workers_never_claim_the_same_image(at_once, queue, user, stranger, detector):
    images = queue(user, 200) + queue(stranger, 200)

    def worker():
        claimed = []
        while chunk := claim(detector):
            claimed += chunk
        return claimed

    # A worker that meets only locked rows claims none until the next ring.
    claimed = [image_id for took in at_once(*[worker] * 8) for image_id in took]
    claimed += worker()
    assert sorted(claimed) == sorted(ids(images))
    assert set(DetectionImage.objects.values_list("state", "attempts")) == {(State.CLAIMED, 1)}


@pytest.mark.postgresql
def test_a_claim_skips_rows_locked_by_another_worker(at_once, queue, user, detector):
    images = queue(user, 4)

    def another():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        return claim(detector)

    with transaction.atomic():
        locked = list(DetectionImage.objects.waiting().in_fair_order().select_for_update()[:2])
        (took,) = at_once(another)
    assert ids(locked) == ids(images[:2])
    assert took == ids(images[2:])


def test_a_renewed_claim_does_not_lapse(queue, user, detector, settings):
    queue(user, 2)
    fence = DetectionImage.objects.claim(detector, CHUNK).fence
    later = timezone.now() + timedelta(seconds=settings.CLAIM_LEASE_SECONDS - 1)
    assert DetectionImage.objects.lapsed(later).count() == 0
    assert DetectionImage.objects.lapsed(later + timedelta(seconds=2)).count() == 2
    DetectionImage.objects.update(claimed_at=timezone.now() - timedelta(hours=1))
    assert DetectionImage.objects.lapsed(timezone.now()).count() == 2
    assert DetectionImage.objects.renew(fence) == 2
    assert DetectionImage.objects.lapsed(timezone.now()).count() == 0


def test_a_released_claim_cannot_be_renewed(queue, user, detector):
    queue(user)
    fence = DetectionImage.objects.claim(detector, CHUNK).fence
    DetectionImage.objects.all().put_back(counted=True)
    assert DetectionImage.objects.renew(fence) == 0
    assert DetectionImage.objects.get().claimed_at is None


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
def test_images_are_put_back_with_or_without_counting_the_attempt(queue, user, detector, counted, attempts):
    queue(user, 3)
    DetectionImage.objects.claim(detector, 2)
    assert DetectionImage.objects.all().put_back(counted=counted) == 2
    rows = DetectionImage.objects.in_fair_order().values_list("state", "claim", "claimed_at", "attempts")
    assert list(rows) == [(State.WAITING, None, None, attempts)] * 2 + [(State.WAITING, None, None, 0)]


# Places in the queue


def test_a_queue_position_counts_the_images_in_front(queue, user, stranger, detector, other_detector):
    queue(stranger, detector=other_detector)
    first, second = queue(user), queue(stranger, 3)
    assert first[0].detection.queue_position() == 1
    assert second[0].detection.queue_position() == 2
    claim(detector, 1)
    assert first[0].detection.queue_position() == 0
    assert second[0].detection.queue_position() == 1


def test_a_queue_position_is_counted_up_to_a_thousand(queue, user, detector):
    queue(user, 1100)
    behind = queue(user, 2)
    assert behind[0].detection.queue_position() == 1000


def test_detectors_with_waiting_images_are_ordered_by_lowest_turn(
    queue, user, stranger, detector, other_detector
):
    assert list(Detector.objects.with_waiting_images()) == []
    queue(user, detector=other_detector)
    assert list(Detector.objects.with_waiting_images()) == [other_detector]
    queue(stranger, 2)
    found = Detector.objects.with_waiting_images()
    assert [(row, row.lowest_turn) for row in found] == [(other_detector, 1), (detector, 2)]
    claim(other_detector)
    assert list(Detector.objects.with_waiting_images()) == [detector]


# Detections


@pytest.mark.parametrize(
    ("total", "processed", "failed", "percent"),
    [
        (0, 0, 0, 0),
        (3, 0, 0, 0),
        (3, 1, 0, 33),
        (3, 1, 1, 66),
        (300, 299, 0, 99),
        (3, 2, 1, 100),
        (1, 0, 1, 100),
    ],
)
def test_percent_counts_processed_and_failed_and_is_100_only_at_the_end(total, processed, failed, percent):
    assert Detection(total=total, processed=processed, failed=failed).percent == percent


def begin(detections):
    with transaction.atomic():
        return Detection.objects.begin(detections)


def test_only_pending_detections_are_marked_as_begun_and_only_once(queue, user):
    pending = queue(user)[0].detection
    cancelled = queue(user)[0].detection
    Detection.objects.filter(pk=cancelled.pk).update(status=Detection.Status.CANCELLED)
    both = [pending, cancelled]
    assert [each.pk for each in begin(both)] == [pending.pk]
    pending.refresh_from_db()
    started_at = pending.started_at
    assert begin(both) == []
    pending.refresh_from_db()
    cancelled.refresh_from_db()
    assert started_at is not None
    assert (pending.status, pending.started_at) == ("processing", started_at)
    assert (cancelled.status, cancelled.started_at) == ("cancelled", None)


@pytest.mark.parametrize(
    ("states", "counted"),
    [
        (["done", "done"], ("completed", 2, 0)),
        (["done", "failed"], ("completed", 1, 1)),
        (["failed", "failed"], ("failed", 0, 2)),
        (["done", "waiting"], ("pending", 1, 0)),
        (["failed", "claimed"], ("pending", 0, 1)),
    ],
)
def test_a_detection_is_finished_when_all_of_its_images_have_ended(queue, user, states, counted):
    images = queue(user, 2)
    for image, state in zip(images, states, strict=True):
        DetectionImage.objects.filter(pk=image.pk).update(state=state, error=f"{state} for a reason")
    with transaction.atomic():
        Detection.objects.recount(Detection.objects.lock([images[0].detection_id]))
    detection = Detection.objects.get()
    assert (detection.status, detection.processed, detection.failed) == counted
    assert (detection.finished_at is not None) == detection.is_finished == (counted[0] != "pending")
    assert detection.error == ("failed for a reason" if counted[0] == "failed" else "")


def test_a_cancelled_detection_stays_cancelled_when_recounted(queue, user):
    images = queue(user)
    then = timezone.now() - timedelta(hours=1)
    Detection.objects.update(status=Detection.Status.CANCELLED, finished_at=then)
    DetectionImage.objects.update(state=State.DONE)
    with transaction.atomic():
        Detection.objects.recount(Detection.objects.lock([images[0].detection_id]))
    detection = Detection.objects.get()
    assert (detection.status, detection.finished_at, detection.processed) == ("cancelled", then, 1)


def test_owned_by_returns_only_detections_of_the_user(queue, user, stranger):
    mine = queue(user)[0].detection
    queue(stranger)
    assert list(Detection.objects.owned_by(user)) == [mine]


def test_only_one_detector_can_be_the_default(detector, other_detector):
    assert Detector.objects.default() == detector
    other_detector.make_default()
    assert Detector.objects.default() == other_detector
    assert Detector.objects.filter(is_default=True).count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        Detector.objects.filter(pk=detector.pk).update(is_default=True)


def test_an_inactive_detector_is_no_default_until_made_default(detector):
    Detector.objects.update(is_active=False)
    assert Detector.objects.default() is None
    detector.make_default()
    assert Detector.objects.default() == detector


def test_corners_of_a_box_are_in_pixels_of_the_image():
    box = DetectionResult(bbox_x=0.25, bbox_y=0.5, bbox_width=0.5, bbox_height=0.125)
    assert box.corners(400, 80) == (100, 40, 300, 50)


def test_str_of_rows_is_readable(queue, user, detector):
    (image,) = queue(user)
    assert str(detector) == "standin 1 (openvino)"
    assert str(image) == str(image.pk)
    assert str(Detection(name="Holiday")) == "Holiday"
    assert str(DetectionImage(original_name="bus.jpg")) == "bus.jpg"
    assert str(DetectionResult(object_class="bus", confidence=0.925)) == "bus 0.93"
