"""A user of a running system, over real HTTP."""

import json
import time
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlencode
from uuid import uuid4

import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from testing.waiting import until

PASSWORD = "a-long-passphrase"


class Client:
    def __init__(self, url):
        self.api = f"{url}/api/v1"
        self.http = requests.Session()

    def sign_up(self):
        self.email = f"{uuid4().hex}@example.com"
        account = {"email": self.email, "password": PASSWORD}
        self.post("auth/signup", json=account).raise_for_status()
        login = self.post("auth/login", json=account)
        login.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        return self

    def another(self):
        """A client of the same user with its own connections."""
        client = Client(self.api.removesuffix("/api/v1"))
        client.http.headers = self.http.headers
        return client

    def post(self, path, **options):
        return self.http.post(f"{self.api}/{path}", timeout=60, **options)

    def get(self, path, **options):
        return self.http.get(f"{self.api}/{path}", timeout=60, **options)

    def upload(self, content, name="photo.jpg", wait=0, request_id=None, **fields):
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        if request_id:
            headers["X-Request-ID"] = request_id
        return self.post("detect/image", files={"image": (name, content)}, data=fields, headers=headers)

    def finished(self, detection_id, seconds=60):
        def look():
            job = self.get(f"detect/jobs/{detection_id}").json()
            return job if job["finished_at"] else None

        return until(look, seconds)

    def authorization(self):
        return {"Authorization": self.http.headers["Authorization"]}

    def ticket(self):
        return self.post("auth/ws-ticket").json()["ticket"]

    def socket(self, headers=None, origin=None, **query):
        """An open WebSocket, with the user's token unless other headers are given."""
        headers = self.authorization() if headers is None else headers
        address = self.api.replace("http", "ws", 1).removesuffix("/api/v1")
        uri = f"{address}/ws/?{urlencode(query)}"
        return connect(uri, additional_headers=headers, origin=origin, proxy=None)

    def stream(self, headers=None, **query):
        """A response of server-sent events that is still being sent."""
        headers = self.authorization() if headers is None else headers
        return requests.get(f"{self.api}/events", params=query, headers=headers, stream=True, timeout=30)

    @contextmanager
    def following(self, way, **query):
        """The messages of a stream, until it ends: `websocket` or `sse`."""
        if way == "websocket":
            with self.socket(**query) as socket:
                yield texts_of(socket)
        else:
            with closing(self.stream(**query)) as response:
                response.raise_for_status()
                yield data_of(response)


def texts_of(socket):
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(socket.recv(timeout=60))


def data_of(response, seconds=60):
    """Fails if no message comes for so long, though comments come."""
    last = time.monotonic()
    with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        for line in response.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))
                last = time.monotonic()
            assert time.monotonic() < last + seconds, "No message came."


def closed_with(socket, seconds=30):
    """The code with which the server ends the socket; None if it only breaks off."""
    try:
        while True:
            socket.recv(timeout=seconds)
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code


UNREACHABLE = (OSError, InvalidStatus, requests.RequestException)
