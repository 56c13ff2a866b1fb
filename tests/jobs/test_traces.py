"""Traces of the running system, as a collector gets them."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest

from testing import stacks
from testing.clients import PASSWORD
from testing.files.pictures import photo
from testing.peers.receivers import Answer, collecting, receiving
from testing.services import free_port
from testing.waiting import until

ROOT_SPAN = "POST /api/v1/detect/image"
# Each span of an upload, and its parent. That of "begin" is the request or, if soon done, "save results".
COMPLETE = {
    ("store", ROOT_SPAN),
    ("wait", ROOT_SPAN),
    ("queue", ROOT_SPAN),
    ("claim", ROOT_SPAN),
    ("event detection.started", "begin"),
    ("image", ROOT_SPAN),
    ("decode", "image"),
    ("infer", "image"),
    ("save results", ROOT_SPAN),
    ("event detection.completed", "save results"),
    ("webhook", "event detection.completed"),
    ("POST", "webhook"),
}
STATEMENTS = {("SELECT", ROOT_SPAN), ("WITH", "store"), ("LPUSH", "store"), ("WITH", "save results")}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
MODULES = """
import json, sys
{imports}
print(json.dumps(list(sys.modules)))
"""
WEB = "import objectvision.asgi"
# By the command that starts workers, where Flower, its plugin, is not installed.
WORKER = """
sys.modules["flower"] = None
from celery.bin.celery import celery
celery.main(["-A", "objectvision", "worker", "--help"], standalone_mode=False)
del sys.modules["flower"]
from objectvision.celery import app
app.loader.import_default_modules()
assert app.connection().transport.driver_type == "redis"
"""


class Traced:
    def __init__(self, stack, collector, receiver):
        self.stack, self.collector, self.receiver = stack, collector, receiver

    def client(self, url=None):
        client = self.stack.client().sign_up()
        webhook = {
            "url": url or f"{self.receiver.url}/path-s3cret?query=s3cret",
            "events": ["detection.completed", "export.completed"],
        }
        client.post("webhooks", json=webhook).raise_for_status()
        return client

    def trace(self, trace_id, *names):
        """The spans of a trace, once those of these names have come."""

        def look():
            found = [span for span in self.collector.spans if span.trace_id.hex() == trace_id]
            return found if {span.name for span in found} >= {*(names or (ROOT_SPAN, "webhook"))} else None

        return until(look, 20)


def new_context(flags="01"):
    """The id of a trace, and the header of a client that began it."""
    trace_id = uuid4().hex
    return trace_id, {"traceparent": f"00-{trace_id}-{'7' * 16}-{flags}"}


def upload(client, headers):
    files = {"image": ("photo.jpg", photo())}
    answer = client.post("detect/image", files=files, headers={"Prefer": "wait=20", **headers})
    assert answer.status_code == 200, answer.text
    return answer.json()


def named(spans, name):
    (span,) = [span for span in spans if span.name == name]
    return span


def links_of(spans):
    """Each span's name, and that of its parent."""
    names = {span.span_id: span.name for span in spans}
    return {(span.name, names.get(span.parent_span_id)) for span in spans}


def attributes_of(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@contextmanager
def running(way, folder, model, **environment):
    with collecting() as collector, receiving() as receiver:
        to_collector = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=s3cret",
            "WEBHOOK_ALLOW_PRIVATE": "true",
        }
        with stacks.running(way, folder, model, **to_collector, **environment) as stack:
            yield Traced(stack, collector, receiver)


@pytest.fixture(scope="module", params=stacks.WAYS)
def traced(request, tmp_path_factory, standin_folder):
    folder = tmp_path_factory.mktemp(f"traced-{request.param}")
    with running(request.param, folder, standin_folder, **SOON, **stacks.UNTHROTTLED) as traced:
        yield traced


def test_the_trace_of_an_upload_goes_from_its_client_to_its_webhook(traced):
    trace_id, headers = new_context()
    upload(traced.client(), headers)
    spans = traced.trace(trace_id, *(name for pair in COMPLETE for name in pair))
    root = named(spans, ROOT_SPAN)
    assert root.parent_span_id.hex() == "7" * 16
    assert attributes_of(root)["http.response.status_code"] == 200
    assert links_of(spans) >= COMPLETE
    if "web" in traced.stack.processes:  # where there are PostgreSQL and Redis
        assert links_of(spans) >= STATEMENTS
        assert f'"trace_id": "{trace_id}"' in traced.stack.log("web")
        assert f'"trace_id": "{trace_id}"' in traced.stack.log("default")
    assert attributes_of(named(spans, "POST"))["http.response.status_code"] == 204
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert not any(span.links for span in spans)
    assert "traceparent" not in {name.lower() for name in traced.receiver.asked[-1].headers}


def test_exports_and_pings_are_traced_to_their_webhooks(traced):
    trace_id, headers = new_context()
    client = traced.client()
    (webhook,) = client.get("webhooks").json()["items"]
    client.post(f"webhooks/{webhook['id']}/ping", headers=headers).raise_for_status()
    client.post("detect/exports", json={"format": "csv"}, headers=headers).raise_for_status()

    def look():
        return links_of(traced.trace(trace_id, "webhook")) >= {
            ("webhook", "POST /api/v1/webhooks/<uuid:pk>/ping"),
            ("make export", "POST /api/v1/detect/exports"),
            ("event export.completed", "make export"),
            ("webhook", "event export.completed"),
        }

    until(look, 20)


def test_a_client_decides_that_its_request_is_not_traced(traced):
    (unwanted, unwanted_headers), (wanted, headers) = new_context("00"), new_context()
    client = traced.client()
    upload(client, unwanted_headers)
    upload(client, headers)
    traced.trace(wanted)
    assert unwanted not in {span.trace_id.hex() for span in traced.collector.spans}


def test_probes_and_files_are_not_traced(traced):
    trace_id, headers = new_context()
    client = traced.client()
    for path in ("/health", "/api/v1/health/ready", "/static/objectvision/tokens.css", "/favicon.ico"):
        assert client.http.get(f"{traced.stack.url}{path}", headers=headers).ok
    client.get("detect/history", headers=headers)
    spans = traced.trace(trace_id, "GET /api/v1/detect/history")
    assert [span.name for span in spans if span.kind == span.SPAN_KIND_SERVER] == [
        "GET /api/v1/detect/history"
    ]


def test_spans_hold_no_secrets_and_nothing_personal(traced):
    trace_id, headers = new_context()
    closed = f"http://127.0.0.1:{free_port()}/path-s3cret?query=s3cret"
    client = traced.client(closed)
    state = {"tracestate": "no member s3cret"}
    client.get("detect/history", params={"search": "s3cret"}, headers={**headers, **state})
    client.post("auth/login", json={"email": "s3cret@example.com", "password": PASSWORD}, headers=headers)
    client.http.request("S3CRET", f"{client.api}/s3cret-path", headers=headers)
    upload(client, {**headers, "X-Request-ID": "seen"})
    spans = traced.trace(trace_id)
    sent = b"".join(request.body for request in traced.collector.asked).lower()
    token = client.http.headers["Authorization"].split()[1].encode().lower()
    for secret in (b"s3cret", b"example.com", PASSWORD.encode(), token, b"photo.jpg"):
        assert secret not in sent
    assert b"seen" in sent
    assert attributes_of(named(spans, "POST"))["error.type"] == "ConnectionRefusedError"
    assert not any(span.events or span.status.message for span in spans)  # where texts of errors would be
    assert traced.collector.asked[-1].headers["x-collector-key"] == "s3cret"
    assert "no member" not in "".join(map(traced.stack.log, traced.stack.processes))


@pytest.mark.slow
@pytest.mark.parametrize("traced", stacks.WAYS[1:], indirect=True)
def test_a_chunk_of_several_uploads_is_linked_to_their_traces(traced):
    traced.stack.kill("inference")
    clients = [traced.client() for _ in range(2)]
    contexts = [new_context() for _ in clients]
    accepted = [
        client.post("detect/image", files={"image": ("photo.jpg", photo())}, headers=headers).json()
        for client, (_, headers) in zip(clients, contexts, strict=True)
    ]
    traced.stack.start_worker("inference")
    for client, answer in zip(clients, accepted, strict=True):
        client.finished(answer["detection_id"])
    uploads = [traced.trace(trace_id) for trace_id, _ in contexts]
    roots = {named(spans, ROOT_SPAN).span_id for spans in uploads}

    def look():
        saved = [span for span in traced.collector.spans if span.name == "save results"]
        return [span for span in saved if {link.span_id for link in span.links} == roots]

    (saved,) = until(look, 20)
    assert not saved.parent_span_id
    of_chunk = {("save results", ROOT_SPAN)}
    for spans in uploads:
        alone = {(name, ROOT_SPAN if name.startswith("event") else parent) for name, parent in COMPLETE}
        assert links_of(spans) >= alone - of_chunk - {("wait", ROOT_SPAN)}
        (link,) = named(spans, "event detection.completed").links
        assert link.span_id == saved.span_id


@pytest.mark.slow
@pytest.mark.services
def test_processes_that_stop_send_what_they_have_recorded(tmp_path, standin_folder):
    trace_id, headers = new_context()
    with running("production", tmp_path, standin_folder, OTEL_BSP_SCHEDULE_DELAY="60000") as traced:
        upload(traced.client(), headers)
        until(lambda: traced.receiver.asked)
        assert traced.collector.asked == []
        for name in ("web", "inference", "default"):
            assert traced.stack.stop(name) == 0
        assert links_of(traced.trace(trace_id)) >= COMPLETE


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [True, False])
def test_a_collector_that_is_away_costs_spans_a_line_and_no_time(tmp_path, standin_folder, hangs):
    with collecting() as collector, stacks.embedded(tmp_path, standin_folder) as stack:
        collector.answers = [Answer(200, delay=20)] * 100
        url = collector.url if hangs else f"http://127.0.0.1:{free_port()}"
        stack.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **SOON}
        client = stack.serve().client().sign_up()
        for _ in range(5):
            assert client.upload(photo(), wait=20).json()["status"] == "completed"
        started = time.monotonic()
        assert stack.stop("serve") == 0
        assert time.monotonic() - started < 5
        lines = [line for line in stack.log("serve").splitlines() if "opentelemetry" in line]
        assert len(lines) == (not hangs), lines


@pytest.mark.parametrize("imports", [WEB, WORKER], ids=["web", "worker"])
def test_without_a_collector_nothing_of_opentelemetry_is_imported(tmp_path, imports):
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DB_HOST": "",
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    }
    command = [sys.executable, "-c", MODULES.format(imports=imports)]
    done = subprocess.run(command, env=environment, cwd=stacks.ROOT, capture_output=True, text=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {"redis", "detections.models", "objectvision.lib.tracing"} <= set(modules)
    assert [name for name in modules if name.startswith("opentelemetry")] == []
