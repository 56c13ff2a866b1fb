from datetime import timedelta

import pytest
from django.utils import timezone

from testing import browsers, stacks
from testing.endpoints import DETECTION, EXPORT, KEY, SESSION, USER, WEBHOOK
from testing.files.pictures import photo


@pytest.fixture
def owned(user, submit):
    """The ids in the paths of what belongs to the user."""
    from accounts import keys
    from accounts.models import Session
    from detections import reviews
    from detections.exports import runs
    from detections.jobs import processing
    from detections.publication import shares
    from notifications.models import WebhookDelivery
    from notifications.webhooks import endpoints

    detection = submit(user, photo())
    processing.process_waiting()
    image = detection.images.get()
    box = {"x": 0.1, "y": 0.1, "width": 0.1, "height": 0.1}
    export = runs.submit_export(user, "csv", {})
    detection.change(is_public=True, moderation="approved")
    share, token = shares.create_share(detection, 60)
    webhook, _ = endpoints.create_endpoint(user, None, url="https://hooks.example.com/")
    delivery = WebhookDelivery.objects.create(
        endpoint=webhook, event=webhook.pk, type="export.completed", state="failed"
    )
    return {
        DETECTION: detection.pk,
        USER: user.pk,
        EXPORT: export.pk,
        SESSION: Session.objects.create(user=user, expires_at=timezone.now() + timedelta(days=1)).pk,
        KEY: keys.issue(user, "Camera", ["read"], None)[0].pk,
        WEBHOOK: webhook.pk,
        "image": image.pk,
        "result": reviews.add_result(detection, image.pk, "alpha", box).pk,
        "share": share.pk,
        "published": detection.pk,
        "token": token,
        "delivery": delivery.pk,
    }


# Webhooks are sent to receivers of the tests' own.
OPEN = {**stacks.UNTHROTTLED, "WEBHOOK_ALLOW_PRIVATE": "true"}


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory, standin_folder):
    """`manage.py serve`, shared by tests that leave it as it was but for users of their own."""
    with stacks.running("embedded", tmp_path_factory.mktemp("embedded"), standin_folder, **OPEN) as stack:
        yield stack


@pytest.fixture(scope="session")
def production_stack(tmp_path_factory, standin_folder):
    """The same system on PostgreSQL and Redis."""
    environment = {**OPEN, "FLOWER_PASSWORD": "correct horse: battery"}
    with stacks.running(
        "production", tmp_path_factory.mktemp("production"), standin_folder, **environment
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def browser():
    """A Chromium. While it runs, this process may not use Django's database: Playwright has an event loop."""
    with browsers.launched() as browser:
        yield browser


@pytest.fixture(params=stacks.WAYS)
def stack(request):
    """Both of these in turn."""
    return request.getfixturevalue(f"{request.param}_stack")


@pytest.fixture
def production(tmp_path, standin_folder):
    """A system of this test alone, whose inference workers it starts itself."""
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.start_web()
        stack.background()
        yield stack.until_up()
