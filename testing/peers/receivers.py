"""HTTP servers on loopback that keep the requests they got and answer as told."""

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standardwebhooks import Webhook


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple = ()
    delay: float = 0


class Asked(NamedTuple):
    path: str
    headers: dict
    body: bytes
    at: float


class Server(ThreadingHTTPServer):
    daemon_threads = True  # those of a receiver that hangs
    request_queue_size = 128  # by default 5, and the sixth connection waits for a second


@contextmanager
def listening(respond):
    """The address of a server that answers each request (`Asked`) with what `respond` makes of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = respond(Asked(self.path, dict(self.headers), body, time.time()))
            time.sleep(answer.delay)
            self.send_response(answer.status)
            for name, value in {"Content-Length": len(answer.body), **dict(answer.headers)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_):
            pass

        def handle(self):
            with suppress(OSError):  # the sender did not wait for the answer
                super().handle()

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Receiver:
    """A receiver of webhooks."""

    def __init__(self):
        self.url = ""
        self.answers = []
        """The next answers; when the list is empty, webhooks are accepted."""
        self.asked = []
        self.lock = threading.Lock()

    def respond(self, asked):
        with self.lock:
            self.asked.append(asked)
            return self.answers.pop(0) if self.answers else Answer(204)

    def verified(self, secret):
        """The bodies of all requests. Fails if the signature of one is wrong."""
        return [Webhook(secret).verify(asked.body, asked.headers) for asked in self.asked]

    @property
    def ids(self):
        return [asked.headers["webhook-id"] for asked in self.asked]


@contextmanager
def receiving():
    receiver = Receiver()
    with listening(receiver.respond) as url:
        receiver.url = f"{url}/hook"
        yield receiver


class Collector:
    """A collector of traces: OTLP over HTTP."""

    def __init__(self):
        self.url = ""
        self.answers = []
        self.asked = []
        """Requests, as they came."""

    def respond(self, asked):
        self.asked.append(asked)
        return self.answers.pop(0) if self.answers else Answer(200)

    @property
    def spans(self):
        """All spans, by their ids."""
        requests = [ExportTraceServiceRequest.FromString(asked.body) for asked in self.asked]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting():
    collector = Collector()
    with listening(collector.respond) as url:
        collector.url = url
        yield collector
