"""A server with Brevo's endpoint for sending one mail. It keeps the requests that it got."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

KEY = "xkeysib-of-the-tests"


class Answer(NamedTuple):
    status: int
    body: object = None
    headers: tuple = ()
    delay: float = 0


class Asked(NamedTuple):
    path: str
    headers: dict
    body: dict


class Brevo:
    def __init__(self):
        self.answers = []
        """The next answers; when the list is empty, mails are accepted."""
        self.asked = []
        self.accepted = {}
        """Mails by their keys."""
        self.lock = threading.Lock()

    def answer(self, asked):
        with self.lock:
            self.asked.append(asked)
            if self.answers:
                return self.answers.pop(0)
            return self.accept(asked)

    def accept(self, asked):
        key = asked.body["headers"]["idempotencyKey"]
        if asked.headers["api-key"] != KEY:
            return Answer(401, {"code": "unauthorized", "message": "Key not found"})
        if key in self.accepted:  # it remembers keys for a quarter of an hour
            return Answer(400, {"code": "duplicate_parameter", "message": "Duplicate idempotencyKey"})
        self.accepted[key] = asked.body
        return Answer(201, {"messageId": f"<{key}@smtp-relay.mailin.fr>"})

    def mails(self, to):
        return [body for body in self.accepted.values() if body["to"] == [{"email": to}]]


@contextmanager
def running():
    brevo = Brevo()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = brevo.answer(Asked(self.path, dict(self.headers), body))
            time.sleep(answer.delay)
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": len(content), **dict(answer.headers)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # by default 5, and the sixth connection waits for a second

    with Server(("127.0.0.1", 0), Handler) as server:
        brevo.url = f"http://127.0.0.1:{server.server_port}/v3"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield brevo
        finally:
            server.shutdown()
            thread.join()
