"""Who may read `/metrics`, and what it reads as it is asked."""

from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from detections.exports import runs
from detections.models import DetectionImage, Detector
from notifications.mail import outbox
from notifications.models import Mail, WebhookDelivery, WebhookEndpoint
from objectvision.asgi import application
from objectvision.monitoring import readings
from testing.api import faults
from testing.files.pictures import photo

TOKEN = "a-token-of-more-than-32-characters"
# What the readings of rows cost: queue; mails; exports; deliveries; webhooks.
QUERIES = 5

reads = pytest.mark.django_db(transaction=True)  # in threads, which use other connections


@pytest.fixture
def token(settings):
    settings.METRICS_TOKEN, settings.HAS_METRICS = TOKEN, True


@pytest.fixture
def near(settings):
    settings.METRICS_ALLOWED_NETWORKS, settings.HAS_METRICS = ["127.0.0.0/8", "2001:db8::/64"], True


def scrape(**headers):
    return APIClient().get("/metrics", headers=headers)


@async_to_sync
async def scrape_from(peer, trusted=(), **headers):
    """The status for a client of a server that believes these proxies."""
    server = ProxyHeadersMiddleware(application, list(trusted))
    transport = httpx.ASGITransport(app=server, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get("/metrics", headers=headers)).status_code


@reads
def test_metrics_are_closed_unless_a_token_or_a_network_is_set():
    assert faults(scrape(), 404) == [("not_found", None)]
    assert faults(scrape(authorization="Bearer "), 404) == [("not_found", None)]


@reads
def test_only_the_token_opens_the_metrics(token):
    for wrong in (
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer é",
    ):
        response = scrape(authorization=wrong)
        assert faults(response, 401) == [("not_authenticated", None)]
        assert response["WWW-Authenticate"] == 'Bearer realm="metrics"'
    assert faults(scrape(x_api_key=TOKEN), 401)
    for right in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
        response = scrape(authorization=right)
        assert response.status_code == 200
        assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert response["Cache-Control"] == "no-store"


@reads
def test_neither_a_user_nor_staff_may_read_the_metrics(token, api, user):
    user.is_staff = user.is_superuser = True
    user.save()
    assert api(user).get("/metrics").status_code == 401
    assert api(user).get("/api/v1/metrics").status_code == 404


@reads
def test_refused_requests_are_throttled_by_address_and_scrapes_are_not(token, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (2, 60)}
    assert [scrape().status_code for _ in range(3)] == [401, 401, 429]
    assert [scrape(authorization=f"Bearer {TOKEN}").status_code for _ in range(3)] == [200] * 3
    settings.METRICS_TOKEN = ""
    assert scrape(authorization="Bearer ").status_code == 429


@reads
@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "status"),
    [
        ("127.0.0.9", [], None, 200),
        ("::ffff:127.0.0.1", [], None, 200),
        ("2001:db8::5", [], None, 200),
        ("2001:db8:0:1::5", [], None, 403),
        ("10.0.0.5", [], None, 403),
        ("", [], None, 403),
        # Through a proxy on this machine that is not trusted, everyone would seem to be this machine.
        ("127.0.0.1", [], "203.0.113.7", 403),
        ("127.0.0.1", [], "127.0.0.1", 403),
        ("127.0.0.1", ["192.0.2.1"], "127.0.0.1", 403),
        ("127.0.0.1", ["127.0.0.1"], "203.0.113.7", 403),
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1, 203.0.113.7", 403),
        ("10.0.0.5", ["10.0.0.5"], "203.0.113.7, 127.0.0.3", 200),
        ("10.0.0.5", [], "127.0.0.1", 403),
    ],
)
def test_only_a_clients_own_address_is_looked_up_among_the_allowed(near, peer, trusted, forwarded, status):
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert scrape_from(peer, trusted, **headers) == status


@reads
@pytest.mark.parametrize("mark", ["Forwarded", "Via", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"])
def test_any_mark_of_an_unknown_proxy_closes_the_networks_and_not_the_token(near, token, mark):
    assert scrape_from("127.0.0.1") == 200
    assert scrape_from("127.0.0.1", **{mark: "x"}) == 401
    assert scrape_from("127.0.0.1", **{mark: "x", "Authorization": f"Bearer {TOKEN}"}) == 200


def series(metrics):
    """The name and the values of the labels of each sample."""
    return [
        (sample.name.removeprefix("objectvision_"), *sample.labels.values())
        for metric in metrics
        for sample in metric.samples
    ]


def values(metrics):
    """The number of each sample, by its name and the values of its labels."""
    return {
        (sample.name.removeprefix("objectvision_"), *sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def later(time_machine, seconds):
    time_machine.move_to(timezone.now() + timedelta(seconds=seconds))


def test_the_queue_is_read_with_the_age_of_the_oldest_upload(detector, user, submit, rings, time_machine):
    submit(user, photo(), photo())
    submit(user, photo())
    DetectionImage.objects.claim(detector, 1)
    later(time_machine, 90)
    found = values(readings.read_rows())
    assert (found["images", "standin:1", "waiting"], found["images", "standin:1", "claimed"]) == (2, 1)
    assert 90 <= found["oldest_image_seconds", "standin:1"] < 120


def test_images_that_an_operator_runs_again_have_no_age(detector, user, submit, rings, time_machine):
    submit(user, photo())
    DetectionImage.objects.update(priority=DetectionImage.Priority.BACKGROUND)
    later(time_machine, 90)
    found = values(readings.read_rows())
    assert (found["images", "standin:1", "waiting"], found["oldest_image_seconds", "standin:1"]) == (1, 0)


def test_one_name_and_version_on_two_backends_is_one_series(detector, user, submit, rings):
    submit(user, photo())
    Detector.objects.filter(pk=detector.pk).update(is_default=False)
    detector.pk, detector.backend = uuid4(), "ultralytics"
    detector.save(force_insert=True)
    names = [labels for name, *labels in series(readings.read_rows()) if name == "images"]
    assert sorted(names) == [["standin:1", "claimed"], ["standin:1", "waiting"]]
    assert values(readings.read_rows())["images", "standin:1", "waiting"] == 1


def test_mails_exports_and_deliveries_that_wait_are_counted(user, rings):
    outbox.queue_mail(Mail.Kind.WELCOME, user.email)
    runs.submit_export(user, "csv", {})
    now = timezone.now()
    states = {
        "active": {},
        "failing": {"failing_since": now},
        "disabled": {"is_active": False},
        "deleted": {"is_active": False, "deleted_at": now},
    }
    webhooks = {
        name: WebhookEndpoint.objects.create(user=user, url="https://example.com", **state)
        for name, state in states.items()
    }
    for minutes in (0, 9, 11):
        due = now - timedelta(minutes=minutes)
        WebhookDelivery.objects.create(endpoint=webhooks["active"], event=uuid4(), type="ping", next_at=due)
    found = values(readings.read_rows())
    assert (found["mails_waiting",], found["exports_waiting",]) == (1, 1)
    assert (found["webhook_deliveries_waiting",], found["webhook_deliveries_overdue",]) == (3, 1)
    assert [found["webhook_endpoints", state] for state in ("active", "failing", "disabled")] == [1, 1, 1]


@pytest.mark.parametrize("detectors", [1, 3])
def test_rows_are_read_by_the_same_few_queries(detector, user, submit, rings, detectors):
    for number in range(1, detectors):
        Detector.objects.create(name=f"d{number}", version="1", backend="openvino", image_size=64, classes=[])
        submit(user, photo())
    with CaptureQueriesContext(connection) as queries:
        readings.read_rows()
    assert len(queries) == QUERIES


@reads
def test_without_redis_the_rest_is_shown(token, settings, closed_redis):
    settings.REDIS_URL = closed_redis
    found = scraped()
    assert (found["redis_up",], found["database_up",]) == (0, 1)
    assert not any(name in {"workers", "beat_alive"} for name, *_ in found)
    assert found["mails_waiting",] == 0


@reads
def test_the_embedded_system_has_no_redis_to_be_away(token):
    assert ("redis_up",) not in scraped()


def scraped():
    text = scrape(authorization=f"Bearer {TOKEN}").content.decode()
    return values(text_string_to_metric_families(text))


@reads
def test_what_no_process_has_recorded_is_there_by_its_name_and_type(token):
    text = scrape(authorization=f"Bearer {TOKEN}").content
    for name in ("requests_total counter", "save_seconds histogram", "streams_open gauge"):
        assert f"# TYPE objectvision_{name}\n".encode() in text


@reads
def test_scrapes_by_plain_http_are_not_redirected(token, settings):
    settings.SECURE_SSL_REDIRECT = True
    assert APIClient().get("/docs").status_code == 301
    assert scrape(authorization=f"Bearer {TOKEN}").status_code == 200
