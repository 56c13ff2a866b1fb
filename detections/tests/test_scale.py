"""Large histories are answered from indexes, whatever is asked and however many rows others have."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from detections.tests import scale

HISTORY = "/api/v1/detect/history"

# What a page of the history is read from, by what is asked. `last` stands for the last page's offset.
PAGES = {
    "": {"detections_history"},
    "offset=last": {"detections_history"},
    "ordering=created_at": {"detections_history"},
    "ordering=-finished_at": {"detections_by_finish"},
    "ordering=finished_at": {"detections_by_finish"},
    "ordering=name": {"detections_by_name"},
    "ordering=-total": {"detections_by_total"},
    "status=failed": {"detections_by_status"},
    "created_after=2026-01-01T01:00:00Z": {"detections_history"},
    "created_before=2026-01-01T01:00:00Z": {"detections_history"},
    "detector=usual": {"detections_history"},
    "detector=rare": {"detections_history"},
    "object_class=person": {"detections_history", "detections_found"},
    "object_class=zebra": {"detections_by_class", "detections_detection_pkey"},
    "min_confidence=0.5": {"detections_history", "detections_found"},
    "min_confidence=0.9499": {"detections_by_confidence", "detections_detection_pkey"},
    "object_class=person&min_confidence=0.9": {"detections_history", "detections_found"},
    "object_class=zebra&min_confidence=0.5": {"detections_by_class", "detections_detection_pkey"},
    "search=photo": {"detections_history", "detections_image_names"},
    "search=car": {"detections_history", "detections_image_names"},
}


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def explained(statement):
    """What the database reads from the large tables for this statement: indexes, or tables as a whole."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        (plan,) = cursor.fetchone()
    (plan,) = json.loads(plan) if isinstance(plan, str) else plan
    read = set()
    for node in nodes(plan["Plan"]):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in scale.TABLES:
            read.add(node["Relation Name"])
        elif "Index Name" in node and not node["Index Name"].startswith("detections_detector"):
            read.add(node["Index Name"])
    return read


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detections", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_page_of_a_large_history_and_its_total_come_from_indexes(api, user, detections):
    scale.fill(user, detections)
    client = api(user)
    pages, totals = {}, {}
    for question in PAGES:
        with CaptureQueriesContext(connection) as queries:
            response = client.get(f"{HISTORY}?{question.replace('last', str(detections - 10))}")
        assert response.status_code == 200
        _, total, *page = [query["sql"] for query in queries]
        pages[question] = {index for statement in page for index in explained(statement)}
        totals[question] = explained(total)
    assert pages == PAGES
    assert [question for question, read in totals.items() if read & set(scale.TABLES)] == []
