"""Receivers that hang delay nobody else's webhooks."""

import logging
import statistics
import threading

import pytest

from testing import stacks
from testing.peers.receivers import Answer, listening
from testing.waiting import until

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.services, pytest.mark.soak]
ENDPOINTS, HANGING, EVENTS = 50, 10, 200
MOST_SECONDS_MORE = 2
# As 200 changes at once: an event each, and a delivery for each endpoint.
HAPPEN = """
from django.db import transaction
from uuid_utils.compat import uuid7
from accounts.models import User
from notifications import outbox
from notifications.models import Event
from notifications.webhooks import endpoints
from objectvision.lib import rows
user = User.objects.create(email="{number}@example.com")
for url in {urls}:
    endpoints.WebhookEndpoint.objects.create(user=user, url=url, events=["*"],
        secret=endpoints.sealing.seal(endpoints.new_secret()))
events = [Event(user=user, type="export.failed", subject_id=uuid7()) for _ in range({events})]
with transaction.atomic():
    rows.write(*outbox.rows_of(events))
"""
DELAYS = """
SELECT extract(epoch FROM d.delivered_at - d.created_at)
FROM notifications_webhookdelivery d JOIN notifications_webhookendpoint e ON e.id = d.endpoint_id
JOIN accounts_user u ON u.id = e.user_id
WHERE d.state = 'delivered' AND u.email = %s AND e.url LIKE %s
"""


def test_ten_of_fifty_receivers_that_hang_delay_the_others_by_at_most_2_s(tmp_path, standin_folder):
    end = threading.Event()

    def hang(_):
        end.wait(60)
        return Answer(204)

    with (
        stacks.production(tmp_path, standin_folder) as stack,
        listening(lambda _: Answer(204)) as quick,
        listening(hang) as hanging,
    ):
        stack.environment["WEBHOOK_ALLOW_PRIVATE"] = "true"
        stack.webhooks()
        stack.background()
        found = []
        for number, others in enumerate([quick, hanging]):
            addresses = [quick] * (ENDPOINTS - HANGING) + [others] * HANGING
            urls = [f"{address}/{place}" for place, address in enumerate(addresses)]
            stack.manage("shell", "-c", HAPPEN.format(number=number, urls=urls, events=EVENTS))
            found.append(delays_of(stack, f"{number}@example.com", quick, urls))
        end.set()
    alone, beside = (statistics.quantiles(delays, n=20)[-1] for delays in found)
    log.info("95th percentile: %.2f s, beside receivers that hang %.2f s", alone, beside)
    assert beside < alone + MOST_SECONDS_MORE


def delays_of(stack, email, address, urls):
    """Of the deliveries to this address, in seconds, once all of them have arrived."""
    expected = EVENTS * sum(url.startswith(address) for url in urls)

    def all_arrived():
        delays = [float(delay) for (delay,) in stack.rows(DELAYS, email, f"{address}/%")]
        return len(delays) == expected and delays

    return until(all_arrived, seconds=600, every=1)
