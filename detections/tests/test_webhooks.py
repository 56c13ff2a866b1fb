"""What webhooks say about detections and exports."""

import json

import pytest
from django.urls import reverse

from detections import events
from detections.jobs import processing
from detections.models import Detection, DetectionResult
from notifications.models import Event, WebhookDelivery
from notifications.webhooks import bodies, endpoints
from objectvision.lib import links
from testing.files.pictures import photo

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def endpoint(user):
    endpoint, _ = endpoints.create_endpoint(user, None, url="https://example.com/", events=["*"])
    return endpoint


def said():
    """The bodies in order."""
    return [json.loads(bodies.body_of(delivery)) for delivery in WebhookDelivery.objects.order_by("pk")]


def test_a_detection_tells_its_classes_and_where_it_is(submit, user):
    detection = submit(user, photo(), photo())
    Detection.objects.update(name="Street")
    processing.process_waiting()
    results = DetectionResult.objects.filter(detection=detection)
    started, completed = said()
    assert (started["type"], completed["type"]) == ("detection.started", "detection.completed")
    assert started["data"] == {
        "detection_id": str(detection.pk),
        "name": "Street",
        "status": "processing",
        "total": 2,
        "processed": 0,
        "failed": 0,
        "error": "",
        "objects": {},
        "url": f"http://localhost:8000/api/v1/detect/{detection.pk}",
    }
    assert sum(completed["data"]["objects"].values()) == results.count() > 0
    assert completed["timestamp"].endswith("Z")


def test_a_body_stays_small_with_thousands_of_classes(submit, user):
    detection = submit(user, photo())
    processing.process_waiting()
    image = detection.images.get()
    box = dict.fromkeys(("bbox_x", "bbox_y", "bbox_width", "bbox_height", "confidence"), 0.5)
    fields = {
        "detection": detection,
        "image": image,
        "user": user,
        "class_id": 0,
        **box,
    }
    names = [f'clässe "{number}" {"ü" * 60}' for number in range(2000)]
    DetectionResult.objects.bulk_create(
        DetectionResult(object_class=name, **fields) for name in [*names, names[7]]
    )
    Detection.objects.update(name="\\u" * 100)
    body = bodies.body_of(WebhookDelivery.objects.get(type="detection.completed"))
    objects = json.loads(body)["data"]["objects"]
    assert len(body.encode()) < bodies.MOST_BYTES
    assert next(iter(objects.items())) == (names[7], 2)
    assert 50 < len(objects) < 2000
    assert events.MOST_CLASS_BYTES < bodies.MOST_BYTES


def test_a_detection_that_was_deleted_is_still_told(submit, user):
    detection = submit(user, photo())
    processing.process_waiting()
    Detection.objects.all().delete()
    _, completed = said()
    assert (completed["data"]["detection_id"], completed["data"]["objects"]) == (str(detection.pk), {})


def test_all_attempts_have_the_same_body(submit, user):
    submit(user, photo())
    processing.process_waiting()
    delivery = WebhookDelivery.objects.get(type="detection.completed")
    first = bodies.body_of(delivery)
    DetectionResult.objects.all().delete()
    delivery.request = {"headers": {}, "body": first}
    assert bodies.body_of(delivery) == first


def test_links_lead_to_what_they_name(submit, user):
    detection = submit(user, photo())
    processing.process_waiting()
    Event.objects.create(user=user, type="export.failed", subject_id=detection.pk)
    kinds = {"detection": "detection-detail", "export": "export-detail"}
    for event in Event.objects.all():
        kind = event.type.partition(".")[0]
        url = bodies.describers[kind](event)["url"]
        assert url == links.public(reverse(kinds[kind], args=[detection.pk]))
