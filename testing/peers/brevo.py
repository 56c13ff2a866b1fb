"""A server with Brevo's endpoint for sending one mail. It keeps the requests that it got."""

import json
import threading
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

from testing.peers import receivers

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

    def respond(self, asked):
        answer = self.answer(Asked(asked.path, asked.headers, json.loads(asked.body)))
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return receivers.Answer(answer.status, body, answer.headers, answer.delay)

    def answer(self, asked):
        with self.lock:
            self.asked.append(asked)
            if self.answers:
                return self.answers.pop(0)
            return self.accept(asked)

    def accept(self, asked):
        key = asked.body.get("headers", {}).get("idempotencyKey") or str(uuid4())
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
    with receivers.listening(brevo.respond) as url:
        brevo.url = f"{url}/v3"
        yield brevo
