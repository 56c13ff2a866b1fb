"""The commands of docs/webhooks.md against a server, its example, and its tables."""

import json
import re
import shutil

import pytest
import time_machine
from standardwebhooks import WebhookVerificationError

from detections.operations import demo
from notifications.models import Event, WebhookDelivery, WebhookEndpoint
from notifications.webhooks import delivery, senders, sending
from testing import services, stacks
from testing.detectors import build_standin
from testing.guides import answers
from testing.guides.answers import assert_answered
from testing.guides.blocks import block_with, blocks
from testing.guides.sessions import make_checkout, run_session, shell_script
from tests.webhooks.conftest import PAGE, rows_below

GUIDE = (stacks.ROOT / "docs" / "api.md").read_text()
BLOCKS = list(blocks(PAGE, ["sh"]))
EXAMPLE = block_with(PAGE, "POST /hooks HTTP/1.1")
VERIFICATION = next(code for code in PAGE.split("```") if "verify(body, headers)" in code)


@pytest.fixture
def server(tmp_path):
    """A server with the guide's detector, or a stand-in with the same classes."""
    model = answers.YOLO26N or build_standin(
        tmp_path / "standin", classes=["person", "bicycle", "car", "motorcycle", "airplane", "bus"]
    )
    folder = tmp_path / "server"
    folder.mkdir()
    with stacks.running("embedded", folder, model, WEBHOOK_ALLOW_PRIVATE="true") as stack:
        yield stack


@pytest.fixture
def shell_of_the_guide(server, tmp_path):
    """Runs shell blocks as if the reader came from the guide: its helpers, its folder, logged in."""
    checkout = make_checkout(tmp_path / "checkout", stacks.ROOT)
    folder = checkout / "var" / "guide"
    folder.mkdir(parents=True)
    shutil.copy(demo.sample_photo(), folder / "bus.jpg")
    (folder / "receiver.py").write_text(block_with(PAGE, "Flask(__name__)"))
    ports = {"5000": str(services.free_port()), "5001": str(services.free_port())}

    def run(blocks):
        script = f"{block_with(GUIDE, 'field() {')}\n{shell_script(blocks)}"
        for shown, free in ports.items():
            script = re.sub(rf"\b{shown}\b", free, script)
        stop = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
        return run_session(
            ["bash"],
            stop + script,
            folder,
            checkout,
            API=f"{server.url}/api/v1",
            AUTH=f"Authorization: {server.client().sign_up().authorization()['Authorization']}",
        )

    return run


def test_every_command_of_the_page_runs_with_the_answer_shown(shell_of_the_guide):
    printed = shell_of_the_guide(BLOCKS)
    assert len(printed) == len(BLOCKS) > 10
    for block, (output, status) in zip(BLOCKS, printed, strict=True):
        assert status == block.status, block.code
        if answers.YOLO26N or "'bus'" not in block.answer:
            assert_answered(block, re.sub(r"localhost:\d+/hooks", "localhost:5000/hooks", output))


def test_the_request_shown_is_verified_by_the_lines_below_it():
    head, _, lines = EXAMPLE.partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    body = lines.strip().replace("\n", " ").encode()
    known = {"headers": headers, "body": body}
    with time_machine.travel(int(headers["webhook-timestamp"]) + 60):
        exec(VERIFICATION.removeprefix("python\n"), known)
    assert known["event"] == json.loads(body)
    with (
        time_machine.travel(int(headers["webhook-timestamp"]) + 301),
        pytest.raises(WebhookVerificationError, match="too old"),
    ):
        exec(VERIFICATION.removeprefix("python\n"), known)


def test_the_schedule_shown_is_that_of_the_code():
    units = {"s": 1, "min": 60, "h": 3600}
    (first, *waits), *_ = rows_below("When it is sent again")
    assert first == ["1", "at once"]
    assert [int(attempt) for attempt, _ in waits] == list(range(2, WebhookDelivery.MOST_ATTEMPTS + 1))
    shown = [int(number) * units[unit] for number, unit in (wait.split() for _, wait in waits)]
    assert shown == [delay.total_seconds() for delay in WebhookDelivery.DELAYS]


def test_the_types_shown_are_those_that_are_sent():
    types, _data = rows_below("What is sent")
    assert {name.strip("`") for name, *_ in types} == {*Event.Type.values, WebhookDelivery.PING}


def test_the_limits_shown_are_those_of_the_code():
    (limits,) = rows_below("Limits")
    assert dict(limits) == {
        "webhooks of a user": str(WebhookEndpoint.MOST_OF_USER),
        "a body that is sent": "20 kB",
        "requests to one webhook at once": str(WebhookEndpoint.MOST_AT_ONCE),
        "time for an answer": f"{sending.SECONDS} s",
        "kept of an answer's body": f"{sending.LONGEST_BODY // 1024} kB",
        "kept of a delivery's answers": f"the last {WebhookDelivery.ANSWERS_KEPT}",
        "kept of the log": f"{WebhookDelivery.KEPT.days} days",
    }


@pytest.mark.parametrize(
    "text",
    [
        f"every attempt of {WebhookEndpoint.MAY_FAIL_FOR.days} days",
        f"more than {WebhookEndpoint.MOST_PENDING:,} deliveries",
        f"For {WebhookEndpoint.OLD_SECRET_SIGNS.total_seconds() / 3600:g} hours each request",
        f"{WebhookDelivery.LONGEST_WAIT.total_seconds() / 3600:g} hours at most",
        f"up to {senders.MOST} threads",
        f"at most {senders.MOST_FOR_TROUBLED} serve webhooks that fail",
        f"or took more than {senders.SLOW.total_seconds():g} seconds to answer",
        f"after {WebhookDelivery.LEASE.total_seconds():g} seconds",
        f"up to {WebhookDelivery.JITTER:.0%} longer".replace("%", " %"),
    ],
)
def test_numbers_in_the_text_are_those_of_the_code(text):
    assert text in " ".join(PAGE.split())


def test_the_statuses_whose_retry_after_counts_are_those_of_the_code():
    shown = re.search(r"`Retry-After`\*\* of a ([\d, or]+)", PAGE)[1]
    assert {int(status) for status in re.findall(r"\d+", shown)} == delivery.WAITING_STATUSES
