"""Large histories are answered from indexes, whatever is asked and however many rows others have."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from detections.tests import scale
from objectvision.tests.stack import Stack

HISTORY = "/api/v1/detect/history"
RESULTS = "/api/v1/detect/results"

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

# The same for a page of results. (The last page of all is sorted: half of the table is the user's.)
FOUND = {
    "": {"detections_results"},
    "created_after=2026-01-01T01:00:00Z": {"detections_results"},
    "created_before=2026-01-01T01:00:00Z": {"detections_results"},
    "object_class=person": {"detections_results"},
    "object_class=zebra": {"detections_by_class"},
    "object_class=person&min_confidence=0.9": {"detections_results"},
    "min_confidence=0.5": {"detections_results"},
    "min_confidence=0.9499": {"detections_by_confidence"},
    "detector=rare": {"detections_by_detector", "detections_found"},
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


def plans(client, path, questions, last=0):
    """What each question's page is read from, and its total."""
    pages, totals = {}, {}
    for question in questions:
        with CaptureQueriesContext(connection) as queries:
            response = client.get(f"{path}?{question.replace('last', str(last))}")
        assert response.status_code == 200, response.content
        statements = [query["sql"] for query in queries][1:]  # the session's apart
        (total,) = [statement for statement in statements if "COUNT(" in statement]
        pages[question] = explained(statements[statements.index(total) + 1])
        totals[question] = explained(total)
    return pages, totals


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detections", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_page_of_a_large_history_and_its_total_come_from_indexes(api, user, detections):
    scale.fill(user, detections)
    pages, totals = plans(api(user), HISTORY, PAGES, last=detections - 10)
    assert pages == PAGES
    assert [question for question, read in totals.items() if read & set(scale.TABLES)] == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detections", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_page_of_many_results_and_its_total_come_from_indexes(api, user, detections):
    scale.fill(user, detections)
    pages, totals = plans(api(user), RESULTS, FOUND)
    assert pages == FOUND
    assert [question for question, read in totals.items() if read & set(scale.TABLES)] == []


CONDITIONS = [
    {"object_class": "bus"},
    {"min_confidence": 0.5},
    {"object_class": "bus", "min_confidence": 0.5},
]


def test_sqlite_looks_for_what_was_found_detection_by_detection(tmp_path):
    stack = Stack(tmp_path, {})
    stack.manage("migrate")
    explain = f"""
from uuid import UUID
from detections import reports
from detections.models import Detection
user = UUID(int=0)
detections = Detection.objects.filter(user=user).newest_first()
for filters in {CONDITIONS}:
    print(reports.narrowed(detections, user, filters).explain())
"""
    plans = stack.manage("shell", "-c", explain)
    assert plans.count("detections_found (detection_id=? AND user_id=? AND ") == len(CONDITIONS)
