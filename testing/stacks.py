"""The system as its users run it: real processes, real HTTP, a database and a Redis of their own."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import requests

from testing import services, shared
from testing.clients import Client
from testing.waiting import until

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
EXAMPLE = (ROOT / ".env.example").read_text()
# For systems that many tests share: all their users sign up from one address.
UNTHROTTLED = dict.fromkeys(re.findall(r"^(THROTTLE_\w+)=", EXAMPLE, re.MULTILINE), "off")
QUICK_PASSWORDS = {"DJANGO_SETTINGS_MODULE": "testing.plugins.quick_passwords"}
# For systems whose log-ins must cost what they cost outside of tests: 0.25 s of a processor.
SLOW_PASSWORDS = {"DJANGO_SETTINGS_MODULE": "objectvision.settings"}
# What a worker runs its tasks in.
PROCESS, THREADS = ("-c", "1"), ("-P", "threads", "-c", "8")
WAYS = ["embedded", pytest.param("production", marks=pytest.mark.services)]
both_ways = pytest.mark.parametrize("stack", WAYS, indirect=True)


def command(*arguments):
    return [sys.executable, ROOT / "manage.py", *arguments]


class Stack:
    """Processes that share an environment; every log lies in the folder."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.address, self.port = "127.0.0.1", services.free_port()
        self.environment = {
            **os.environ,
            **dict.fromkeys(("DB_HOST", "DATABASE_URL", "REDIS_URL", "REDIS_HOST", "MODEL_PATH"), ""),
            "DATA_DIR": str(folder / "data"),
            "CLAIM_LEASE_SECONDS": "3",
            "ENVIRONMENT": "development",
            **QUICK_PASSWORDS,
            **environment,
        }
        self.processes = {}

    @property
    def url(self):
        return f"http://{self.address}:{self.port}"

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
        """Runs a command in the background; kills it at the end of the block."""
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
        for name in [*self.processes]:
            self.kill(name)

    def kill(self, name):
        """With its children."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def lines(self, name):
        """The log's lines of JSON. Mails are printed between them."""
        log = re.sub(r"^Content-Type: text/plain(.|\n)*?\n-{79}\n", "", self.log(name), flags=re.MULTILINE)
        return [json.loads(line) for line in log.splitlines()]

    def client(self):
        return Client(self.url)

    @cached_property
    def shared_client(self):
        """The client of a user that several tests share: a sign-up takes half a second."""
        return self.client().sign_up()

    def until_up(self):
        def answers():
            with suppress(requests.ConnectionError, requests.Timeout):
                return requests.get(f"{self.url}/health", timeout=5).ok

        until(answers)
        return self

    def serve(self):
        self.start("serve", sys.executable, "manage.py", "serve", "--port", str(self.port))
        return self.until_up()

    def web(self):
        self.start_web()
        return self.until_up()

    def start_web(self):
        self.start(
            "web", BIN / "gunicorn", "objectvision.asgi:application", "-k", "uvicorn_worker.UvicornWorker",
            "--bind", f"{self.address}:{self.port}",
        )  # fmt: skip

    def worker(self, name, queue="inference", app="objectvision"):
        self.start_worker(name, queue, app)
        self.until_ready(name)

    def start_worker(self, name, queue="inference", app="objectvision", pool=PROCESS):
        self.start(name, BIN / "celery", "-A", app, "worker", "-Q", queue, *pool, "-n", f"{name}@test")

    def webhooks(self, pool=THREADS):
        self.start_worker("webhooks", "webhooks", pool=pool)
        self.until_ready("webhooks")

    def until_ready(self, name):
        until(lambda: f"{name}@test ready" in self.log(name))

    def background(self):
        self.worker("default", "default")
        self.start_beat()

    def start_beat(self):
        self.start("beat", BIN / "celery", "-A", "objectvision", "beat")

    def start_all(self):
        """Web process, workers and beat, which start at the same time. One worker serves two queues."""
        self.start_worker("inference")
        self.start_worker("default", "default,webhooks")
        self.start_web()
        self.start_beat()
        self.until_ready("inference")
        self.until_ready("default")
        return self.until_up()


class Production(Stack):
    """gunicorn and Celery processes on PostgreSQL and Redis."""

    redis_options = ()

    def __init__(self, folder, database, model, **server):
        parameters = services.connection_parameters(database) | server
        redis_port = services.free_port()
        super().__init__(
            folder,
            {
                "ENVIRONMENT": "production",
                "MODEL_PATH": model,
                "SECRET_KEY": uuid4().hex,
                "JWT_SECRET_KEY": uuid4().hex,
                "ALLOWED_HOSTS": "127.0.0.1",
                "DB_HOST": parameters["host"],
                "DB_PORT": str(parameters["port"]),
                "DB_USER": parameters["user"],
                "DB_PASSWORD": parameters["password"],
                "DB_NAME": parameters["dbname"],
                "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            },
        )
        self.redis_port = redis_port
        self.connection = psycopg.connect(**parameters, autocommit=True)

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
            *self.redis_options,
        )
        until(lambda: self.redis_cli("PING").stdout == b"PONG\n")

    def redis_cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.redis_port), *words], capture_output=True)

    def rows(self, query, *parameters):
        return self.connection.execute(query, parameters).fetchall()

    def value(self, query, *parameters):
        return self.rows(query, *parameters)[0][0]

    def clear(self, processes):
        """Kill these processes, and remove all users with what is theirs."""
        for name in processes:
            self.kill(name)
            (self.folder / f"{name}.log").unlink()
        self.redis_cli("FLUSHALL")
        self.connection.execute("TRUNCATE accounts_user CASCADE")
        shutil.rmtree(self.folder / "data" / "media", ignore_errors=True)

    def close(self):
        self.connection.close()
        super().close()


@contextmanager
def database_server():
    with psycopg.connect(**services.connection_parameters(), autocommit=True) as server:
        yield server


def create_database(name, template="template1"):
    drop_database(name)  # left by an attempt that failed
    with database_server() as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name


def drop_database(name):
    with database_server() as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def digest(model):
    return hashlib.sha256(model.encode()).hexdigest()[:8]


def prepared_data(way, model, setup):
    """The data folder after `manage.py setup`, to be copied for each stack."""
    return shared.built_once(f"{way}-{digest(model)}", setup) / "data"


def prepared_embedded(model):
    def setup(folder):
        Stack(folder, {"MODEL_PATH": model}).manage("setup")

    return prepared_data("embedded", model, setup)


def prepared_production(model):
    """The data folder, and the database's name."""
    database = f"{shared.FOLDER.name}-{digest(model)}"

    def setup(folder):
        create_database(database)
        stack = Production(folder, database, model)
        try:
            stack.redis()
            stack.manage("setup")
        finally:
            stack.close()

    return prepared_data("production", model, setup), database


def drop_prepared():
    """At the end, by the process that began all others."""
    if not shared.IS_OWNER:
        return
    query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
    with database_server() as server:
        names = server.execute(query, [shared.FOLDER.name]).fetchall()
    for (name,) in names:
        drop_database(name)


@contextmanager
def production(folder, model):
    """A system after `manage.py setup`, of which only Redis runs."""
    data, database = prepared_production(str(model))
    shutil.copytree(data, folder / "data", dirs_exist_ok=True)
    name = create_database(f"objectvision_{uuid4().hex}", database)
    try:
        stack = Production(folder, name, str(model))
        try:
            stack.redis()
            yield stack
        finally:
            stack.close()
    finally:
        drop_database(name)


@contextmanager
def embedded(folder, model):
    """A system after `manage.py setup`, of which nothing runs."""
    shutil.copytree(prepared_embedded(str(model)), folder / "data", dirs_exist_ok=True)
    stack = Stack(folder, {"MODEL_PATH": str(model)})
    try:
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
        yield stack.start_all()
