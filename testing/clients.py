"""A user of a running system, over real HTTP."""

from uuid import uuid4

import requests

from testing.waiting import until

PASSWORD = "a-long-passphrase"


class Client:
    def __init__(self, url):
        self.api = f"{url}/api/v1"
        self.http = requests.Session()

    def sign_up(self):
        account = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        self.post("auth/signup", json=account).raise_for_status()
        token = self.post("auth/login", json=account).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
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
