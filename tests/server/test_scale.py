"""Pages of large histories are read from indexes for every filter and order."""

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from detections import reports
from detections.models import Detection
from testing import scale
from testing.stacks import Stack

HISTORY = "/api/v1/detect/history"
RESULTS = "/api/v1/detect/results"

# The indexes that a page of the history is read from, by query. `last` is the last page's offset.
PAGES = {
    "": {"detections_history"},
    "offset=last": {"detections_history", "detections_detection_pkey"},
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
    "search=photo&created_before=3000-01-01T00:00:00Z": {"detections_history", "detections_image_names"},
}

# The same for a page of results.
FOUND = {
    "": {"detections_results"},
    "offset=last": {"detections_results", "detections_detectionresult_pkey"},
    "review=none": {"detections_results"},
    "review=none&ordering=confidence": {"detections_by_confidence"},
    "review=none&object_class=person&ordering=confidence": {"detections_by_class"},
    "object_class=person&min_confidence=0.9&created_before=3000-01-01T00:00:00Z": {"detections_results"},
    "created_after=2026-01-01T01:00:00Z": {"detections_results"},
    "created_before=2026-01-01T01:00:00Z": {"detections_results"},
    "object_class=person": {"detections_results"},
    "object_class=zebra": {"detections_by_class"},
    "object_class=person&min_confidence=0.9": {"detections_results"},
    "min_confidence=0.5": {"detections_results"},
    "min_confidence=0.9499": {"detections_by_confidence"},
    "detector=rare": {"detections_by_detector", "detections_found"},
}


# Queries whose totals are counted in indexes alone.
COUNTED = {
    "",
    "created_before=2026-01-01T01:00:00Z",
    "search=photo",
    "search=photo&created_before=3000-01-01T00:00:00Z",
    "object_class=person&min_confidence=0.9&created_before=3000-01-01T00:00:00Z",
    "review=none",
    "review=none&ordering=confidence",
    "review=none&object_class=person&ordering=confidence",
}


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def steps(statement):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        (plan,) = cursor.fetchone()
    (plan,) = json.loads(plan) if isinstance(plan, str) else plan
    return list(nodes(plan["Plan"]))


def explained(statement):
    """The indexes of the large tables that the statement reads, and the tables that it scans."""
    read = set()
    for node in steps(statement):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in scale.TABLES:
            read.add(node["Relation Name"])
        elif "Index Name" in node and not node["Index Name"].startswith("detections_detector"):
            read.add(node["Index Name"])
    return read


def tables_read(statement):
    """The large tables whose rows it reads, not only their indexes."""
    names = {node.get("Relation Name") for node in steps(statement) if node["Node Type"] != "Index Only Scan"}
    return names & set(scale.TABLES)


def plans(client, path, questions, last=0):
    """The indexes that the page of each query is read from, and the statements that count its total."""
    pages, totals = {}, {}
    for question in questions:
        with CaptureQueriesContext(connection) as queries:
            response = client.get(f"{path}?{question.replace('last', str(last))}")
        assert response.status_code == 200, response.content
        statements = [query["sql"] for query in queries][1:]  # without the session's
        (page,) = [statement for statement in statements if re.search("ORDER BY.* LIMIT", statement)]
        pages[question] = explained(page)
        for total in (statement for statement in statements if "COUNT(" in statement):
            totals[question] = total
    assert totals
    return pages, totals


def read_past_indexes(totals):
    """The queries whose total scans a table, or reads rows though an index has all that it asks."""
    scanned = {question for question, total in totals.items() if explained(total) & set(scale.TABLES)}
    covered = {question for question, total in totals.items() if question in COUNTED and tables_read(total)}
    return sorted(scanned | covered)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detections", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_page_and_total_of_a_large_history_is_read_from_indexes(api, user, detections):
    scale.fill(user, detections)
    pages, totals = plans(api(user), HISTORY, PAGES, last=detections - 10)
    assert pages == PAGES
    assert read_past_indexes(totals) == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detections", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_every_page_and_total_of_many_results_is_read_from_indexes(api, user, detections):
    scale.fill(user, detections)
    pages, totals = plans(api(user), RESULTS, FOUND, last=scale.RESULTS * detections - 10)
    assert pages == FOUND
    assert read_past_indexes(totals) == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_results_of_one_detection_are_read_from_an_index(api, user):
    scale.fill(user, 5_000)
    detection = Detection.objects.owned_by(user).newest_first()[0]
    pages, totals = plans(api(user), f"/api/v1/detect/{detection.pk}/results", [""])
    assert pages == {"": {"detections_found"}}
    assert explained(totals[""]) == {"detections_found"}
    with CaptureQueriesContext(connection) as queries:
        reports.show_few_results(detection)
        reports.show_results(detection)
    read = [explained(query["sql"]) for query in queries if "detectionresult" in query["sql"]]
    assert read == [{"detections_found"}] * 3


CONDITIONS = [
    {"object_class": "bus"},
    {"min_confidence": 0.5},
    {"object_class": "bus", "min_confidence": 0.5},
]


def test_sqlite_filters_by_results_with_the_index_of_each_detection(tmp_path):
    stack = Stack(tmp_path, {})
    stack.manage("migrate")
    explain = f"""
from uuid import UUID
from detections import search
from detections.models import Detection
user = UUID(int=0)
detections = Detection.objects.filter(user=user).newest_first()
for filters in {CONDITIONS}:
    print(search.filter_detections(detections, user, filters).explain())
"""
    plans = stack.manage("shell", "-c", explain)
    assert plans.count("detections_found (detection_id=? AND user_id=? AND ") == len(CONDITIONS)
