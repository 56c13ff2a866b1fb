"""A receiver of docs/webhooks.md is told what happens on a running server."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from testing import stacks
from testing.files.pictures import photo
from testing.waiting import until
from tests.webhooks.conftest import Flask, rows_below


@pytest.fixture(params=stacks.WAYS, scope="module")
def server(request, tmp_path_factory, standin_folder):
    """In production, one worker serves the default queue and that of webhooks."""
    folder = tmp_path_factory.mktemp("server")
    environment = {**stacks.UNTHROTTLED, "WEBHOOK_ALLOW_PRIVATE": "true"}
    with stacks.running(request.param, folder, standin_folder, **environment) as stack:
        yield stack


def listen(client, receiver, *events):
    """A new webhook, with its secret."""
    answer = client.post("webhooks", json={"url": receiver.url, "events": events})
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(client, webhook, **values):
    answer = client.http.patch(f"{client.api}/webhooks/{webhook['id']}", json=values)
    assert answer.status_code == 200, answer.text


def deliveries(client, webhook, **query):
    return client.get(f"webhooks/{webhook['id']}/deliveries", params=query).json()["items"]


def names_of(about):
    """The keys of `data` that the page lists."""
    _types, data = rows_below("What is sent")
    return set(dict(data)[about].strip("`").split())


def test_a_completed_detection_reaches_the_receiver_of_its_owner_with_its_objects(server, tmp_path):
    client, stranger, receiver = server.client().sign_up(), server.client().sign_up(), Flask(tmp_path)
    webhook = listen(client, receiver, "detection.completed")
    foreign = listen(stranger, receiver, "*")
    since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    with receiver.running(webhook["secret"]):
        job = client.upload(photo(), confidence=0.05).json()
        ((event_id, body),) = until(lambda: receiver.bodies().items())
        log = until(lambda: deliveries(client, webhook, state="delivered"))
    data = body["data"]
    assert body["type"] == "detection.completed"
    assert (data["detection_id"], data["status"], data["processed"]) == (job["detection_id"], "completed", 1)
    assert data["objects"] == {"alpha": 2, "beta": 1}
    assert set(data) == names_of("a detection")
    assert [row["event_id"] for row in log] == [event_id]
    with client.following("sse", since=since) as messages:
        told = next(message for message in messages if message["type"] == "detection.completed")
    assert (told["id"], told["at"]) == (event_id, body["timestamp"])
    shown = client.http.get(server.url + urlsplit(data["url"]).path).json()
    assert (shown["id"], len(shown["images"][0]["results"])) == (job["detection_id"], 3)
    assert deliveries(stranger, foreign) == []


def test_an_export_reaches_the_receiver(server, tmp_path):
    client, receiver = server.client().sign_up(), Flask(tmp_path)
    webhook = listen(client, receiver, "export.completed", "export.failed")
    with receiver.running(webhook["secret"]):
        client.upload(photo(), wait=30).raise_for_status()
        export = client.post("detect/exports", json={"format": "csv"}).json()
        ((_, body),) = until(lambda: receiver.bodies().items())
    assert (body["type"], body["data"]["export_id"]) == ("export.completed", export["id"])
    assert set(body["data"]) == names_of("an export")


def test_a_receiver_that_was_away_gets_what_it_has_missed(server, tmp_path):
    client, receiver = server.client().sign_up(), Flask(tmp_path)
    webhook = listen(client, receiver, "detection.completed")
    client.upload(photo(), wait=30).raise_for_status()
    (waiting,) = until(lambda: [row for row in deliveries(client, webhook) if row["error"]])
    assert (waiting["state"], waiting["error"]) == ("pending", "connection refused")
    change(client, webhook, is_active=False)  # else the next attempt might come before the receiver is back
    with receiver.running(webhook["secret"]):
        change(client, webhook, is_active=True)
        path = f"webhooks/{webhook['id']}/replay"
        assert client.post(path, json={"since": waiting["created_at"]}).json() == {"count": 1}
        ((event_id, _),) = until(lambda: receiver.bodies().items())
        (delivered,) = until(lambda: deliveries(client, webhook, state="delivered"))
    assert event_id == waiting["event_id"]
    *failed, last = client.get(f"webhooks/{webhook['id']}/deliveries/{delivered['id']}").json()["responses"]
    assert {answer["error"] for answer in failed} == {"connection refused"}
    assert (last["error"], last["status_code"]) == ("", 204)
