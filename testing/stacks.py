"""The system as its users run it: real processes, real HTTP, a database and a Redis of their own."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import requests
from PIL import Image

from objectvision.tests import services

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PASSWORD = "a-long-passphrase"
WAYS = ["embedded", pytest.param("production", marks=pytest.mark.services)]


def until(look, seconds=60, every=0.02):
    """What `look` returns as soon as it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(every)
    raise AssertionError(f"Not within {seconds} s: {look}")


def photo(width=64, height=64, colour=(200, 120, 40), comment=b""):
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "JPEG", comment=comment)
    return file.getvalue()


def command(*arguments):
    return [sys.executable, ROOT / "manage.py", *arguments]


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
        """Of the same user, with connections of its own."""
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


class Stack:
    """Processes that share an environment; every log lies in the folder."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.port = services.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            **dict.fromkeys(("DB_HOST", "DATABASE_URL", "REDIS_URL", "REDIS_HOST", "MODEL_PATH"), ""),
            "DATA_DIR": str(folder / "data"),
            "CLAIM_LEASE_SECONDS": "3",
            **environment,
        }
        self.processes = {}

    def manage(self, *arguments):
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attempt(self, *arguments):
        """A command that may fail."""
        return subprocess.run(
            command(*arguments), cwd=ROOT, env=self.environment, capture_output=True, text=True
        )

    @contextmanager
    def begun(self, *arguments, cwd=ROOT):
        """A command that runs meanwhile, and is killed if it goes on after that."""
        options = {"cwd": cwd, "env": self.environment, "text": True}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command(*arguments), **options, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def start(self, name, *command):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        return self.processes[name]

    def send(self, name, number):
        """To the process and its children."""
        os.killpg(self.processes[name].pid, number)

    def stop(self, name, number=signal.SIGTERM, seconds=30):
        process = self.processes[name]
        process.send_signal(number)
        status = process.wait(seconds)
        del self.processes[name]  # else `close` ends it
        return status

    def close(self):
        self.close_processes()

    def close_processes(self):
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def client(self):
        return Client(self.url)

    def until_up(self):
        def answers():
            with suppress(requests.ConnectionError):
                return requests.get(f"{self.url}/health", timeout=5).ok

        until(answers)
        return self

    def serve(self):
        self.start("serve", sys.executable, "manage.py", "serve", "--port", str(self.port))
        return self.until_up()

    def web(self):
        self.start(
            "web", BIN / "gunicorn", "objectvision.asgi:application", "-k", "uvicorn_worker.UvicornWorker",
            "--bind", f"127.0.0.1:{self.port}",
        )  # fmt: skip
        return self.until_up()

    def worker(self, name, queue="inference", app="objectvision"):
        self.start(name, BIN / "celery", "-A", app, "worker", "-Q", queue, "-c", "1", "-n", f"{name}@test")
        until(lambda: f"{name}@test ready" in self.log(name))

    def background(self):
        self.worker("default", "default")
        self.start("beat", BIN / "celery", "-A", "objectvision", "beat")


class Production(Stack):
    """gunicorn and Celery processes on PostgreSQL and Redis."""

    def __init__(self, folder, database, redis_port):
        parameters = services.connection_parameters()
        super().__init__(
            folder,
            {
                "ENVIRONMENT": "production",
                "SECRET_KEY": uuid4().hex,
                "JWT_SECRET_KEY": uuid4().hex,
                "ALLOWED_HOSTS": "127.0.0.1",
                "DB_HOST": parameters["host"],
                "DB_PORT": str(parameters["port"]),
                "DB_USER": parameters["user"],
                "DB_PASSWORD": parameters["password"],
                "DB_NAME": database,
                "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            },
        )
        self.redis_port = redis_port
        self.connection = psycopg.connect(**services.connection_parameters(database), autocommit=True)

    def redis(self):
        self.start(
            "redis",
            services.redis_server(),
            "--port",
            str(self.redis_port),
            "--save",
            "",
            "--appendonly",
            "no",
        )
        until(lambda: self.redis_cli("PING").stdout == b"PONG\n")

    def redis_cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.redis_port), *words], capture_output=True)

    def rows(self, query, *parameters):
        return self.connection.execute(query, parameters).fetchall()

    def value(self, query, *parameters):
        return self.rows(query, *parameters)[0][0]

    def close(self):
        self.connection.close()
        super().close()


@contextmanager
def production(folder, model):
    name = f"objectvision_{uuid4().hex}"
    with psycopg.connect(**services.connection_parameters(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        stack = Production(folder, name, services.free_port())
        stack.environment["MODEL_PATH"] = str(model)
        try:
            stack.redis()
            stack.manage("setup")
            yield stack
        finally:
            stack.close()
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def embedded(folder, model):
    stack = Stack(folder, {"ENVIRONMENT": "development", "MODEL_PATH": str(model)})
    try:
        stack.manage("setup")
        yield stack
    finally:
        stack.close()


@contextmanager
def running(way, folder, model, **environment):
    """One of `WAYS`, with everything started."""
    if way == "embedded":
        with embedded(folder, model) as stack:
            stack.environment.update(environment)
            yield stack.serve()
        return
    with production(folder, model) as stack:
        stack.environment.update(environment)
        stack.worker("inference")
        stack.background()
        yield stack.web()
