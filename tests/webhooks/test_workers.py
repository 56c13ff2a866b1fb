"""Workers of webhooks that end, in the middle of a request and before, lose and forge nothing."""

import signal

import pytest

from testing import stacks
from testing.files.pictures import photo
from testing.peers.receivers import Answer, receiving
from testing.waiting import until

pytestmark = pytest.mark.services
AGE = "UPDATE notifications_webhookdelivery SET claimed_at = claimed_at - interval '1 minute'"


@pytest.fixture
def stack(tmp_path, standin_folder):
    with stacks.production(tmp_path, standin_folder) as stack:
        stack.environment["WEBHOOK_ALLOW_PRIVATE"] = "true"
        stack.worker("inference")
        stack.web()
        yield stack


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def log_of(client, webhook):
    return client.get(f"webhooks/{webhook['id']}/deliveries").json()["items"]


def one_of(client, webhook):
    """The only delivery, with what came back."""
    (delivery,) = log_of(client, webhook)
    return client.get(f"webhooks/{webhook['id']}/deliveries/{delivery['id']}").json()


def test_a_worker_that_is_killed_in_the_middle_is_followed_by_one_with_the_same_id(stack, receiver):
    receiver.answers = [Answer(204, delay=30)]
    client = stack.client().sign_up()
    webhook = client.post("webhooks", json={"url": receiver.url, "events": ["detection.completed"]}).json()
    client.upload(photo(), wait=20)
    stack.webhooks()
    stack.background()
    until(lambda: len(receiver.asked) == 1)
    stack.kill("webhooks")
    stack.connection.execute(AGE)
    stack.webhooks()
    until(lambda: one_of(client, webhook)["state"] == "delivered")
    assert len(set(receiver.ids)) == 1
    assert len(receiver.verified(webhook["secret"])) == 2
    delivery = one_of(client, webhook)
    assert (delivery["attempts"], delivery["event_id"]) == (2, receiver.ids[0])
    assert [(each["status_code"], each["error"]) for each in delivery["responses"]] == [
        (None, "The worker that was sending it has not come back."),
        (204, ""),
    ]


@pytest.mark.parametrize("pool", [stacks.THREADS, stacks.PROCESS])
def test_a_worker_that_is_stopped_ends_soon_and_waits_for_its_requests(stack, receiver, pool):
    receiver.answers = [Answer(204, delay=3)]
    client = stack.client().sign_up()
    webhook = client.post("webhooks", json={"url": receiver.url, "events": ["detection.completed"]}).json()
    stack.webhooks(pool)
    client.upload(photo(), wait=20)
    until(lambda: len(receiver.asked) == 1)
    assert stack.stop("webhooks", signal.SIGTERM, seconds=15) == 0
    assert one_of(client, webhook)["state"] == "delivered"


@pytest.mark.soak
def test_a_receiver_that_hangs_is_given_up_after_15_s_and_tried_again(stack, receiver):
    receiver.answers = [Answer(204, delay=40)]
    client = stack.client().sign_up()
    webhook = client.post("webhooks", json={"url": receiver.url, "events": ["detection.completed"]}).json()
    stack.webhooks()
    client.upload(photo(), wait=20)
    until(lambda: one_of(client, webhook)["state"] == "delivered")
    first, second = one_of(client, webhook)["responses"]
    assert (first["error"], second["status_code"]) == ("timed out after 15 s", 204)
    assert 15_000 <= first["duration_ms"] < 16_000


def test_under_serve_webhooks_do_not_wait_for_the_images_of_a_batch(tmp_path, standin_folder, receiver):
    environment = {"WEBHOOK_ALLOW_PRIVATE": "true"}
    with stacks.running("embedded", tmp_path, standin_folder, **environment) as stack:
        client = stack.client().sign_up()
        webhook = client.post("webhooks", json={"url": receiver.url, "events": ["export.failed"]}).json()
        batch = [("images", (f"{number}.jpg", photo(1600, 1200))) for number in range(100)]
        answer = client.post("detect/batch", files=batch, data={"tile": 256})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["detection_id"]
        until(lambda: client.get(f"detect/jobs/{job_id}").json()["progress"]["processed"])
        client.post(f"webhooks/{webhook['id']}/ping").raise_for_status()
        until(lambda: receiver.ids, seconds=3)
        assert client.get(f"detect/jobs/{job_id}").json()["status"] == "processing"
