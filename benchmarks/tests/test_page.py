"""docs/scaling.md: its figures and its SQL."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from benchmarks import page
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, DetectionResult
from testing.files.pictures import photo

TEXT = page.PAGE.read_text("utf-8")
[SQL] = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
MONTHS = ["results_2026_01", "results_2026_02", "results_2026_03", "results_later"]
START, COUNT = datetime(2026, 1, 1, tzinfo=UTC), 400


def test_the_tables_of_the_page_follow_from_its_measured_figures():
    assert page.recomputed(TEXT) == TEXT


def test_another_figure_changes_what_is_computed_from_it():
    figures = page.measured(TEXT)
    changed = TEXT.replace("| `worker` | ", "| `worker` | 1", 1)
    assert page.measured(changed)["batches"]["worker"] != figures["batches"]["worker"]
    assert page.recomputed(changed) != changed


@pytest.mark.parametrize(
    ("formula", "value"),
    [("2 * rate", 20), ("ceil(rate / 4)", 3), ("(rate + 1) * 0.5", 5.5), ("rate - 1", 9)],
)
def test_a_formula_is_computed_from_named_values(formula, value):
    assert page.compute(formula, {"rate": 10}) == value


@pytest.mark.parametrize("formula", ["open('x')", "rate ** 2", "rate.real", "'text'"])
def test_anything_else_is_no_formula(formula):
    with pytest.raises((ValueError, KeyError)):
        page.compute(formula, {"rate": 10})


def test_values_are_shown_with_two_digits_that_count():
    assert [page.shown(value) for value in (0.0064, 3.07, 286.9, 37288.0, 1234)] == [
        "0.0064", "3.1", "290", "37,000", "1,234",
    ]  # fmt: skip  # a list to read at a glance


def results_of(image, moment):
    about = {"class_id": 0, "bbox_x": 0, "bbox_y": 0, "bbox_width": 1, "bbox_height": 1}
    of = {"user_id": image.user_id, "detection_id": image.detection_id, "image": image}
    return [DetectionResult(**of, **about, confidence=share / 10, created_at=moment) for share in range(5)]


@pytest.fixture
def by_month(user, detector):
    """The page's copy of the results, of one detection every seven hours for four months."""
    owned = {"user": user, "detector": detector}
    detections = Detection.objects.bulk_create(Detection(**owned) for _ in range(COUNT))
    images = DetectionImage.objects.bulk_create(
        DetectionImage(**owned, detection=each) for each in detections
    )
    DetectionResult.objects.bulk_create(
        result
        for n, image in enumerate(images)
        for result in results_of(image, START + n * timedelta(hours=7))
    )
    with connection.cursor() as cursor:
        cursor.execute(SQL)
        cursor.execute("SET LOCAL enable_seqscan = off")  # as with tables too large for it
        yield cursor


def scans(node):
    if "Relation Name" in node:
        yield node
    for inner in node.get("Plans", ()):
        yield from scans(inner)


def months_read(cursor, condition, *parameters):
    """The months that a query's plan names, and those of them that were begun."""
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM results_by_month WHERE {condition}"
    cursor.execute(query, parameters)
    [answer] = cursor.fetchone()
    [plan] = answer if isinstance(answer, list) else json.loads(answer)
    found = list(scans(plan["Plan"]))
    begun = {scan["Relation Name"] for scan in found if scan["Actual Loops"]}
    return sorted({scan["Relation Name"] for scan in found}), sorted(begun)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_usual_queries_read_the_months_that_the_page_says(by_month, user):
    newest = "user_id = %s ORDER BY created_at DESC, id LIMIT 50"
    since = months_read(by_month, f"created_at >= '2026-03-01Z' AND {newest}", user.pk)
    assert since == (MONTHS[2:], MONTHS[3:])
    assert months_read(by_month, newest, user.pk) == (MONTHS, MONTHS[3:])
    by_month.execute("SELECT detection_id, min(created_at) FROM results_2026_03 GROUP BY 1 LIMIT 1")
    detection, moment = by_month.fetchone()
    assert months_read(by_month, "detection_id = %s", detection) == (MONTHS, MONTHS)
    bound = months_read(by_month, "detection_id = %s AND created_at >= %s", detection, moment)
    assert bound == (MONTHS[2:], MONTHS[2:])
    confident = months_read(by_month, "user_id = %s ORDER BY confidence DESC LIMIT 50", user.pk)
    assert confident == (MONTHS, MONTHS)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_copy_by_month_has_all_rows_and_a_month_can_be_dropped(by_month):
    by_month.execute("SELECT count(*) FROM detections_detectionresult")
    [before] = by_month.fetchone()
    by_month.execute("SELECT count(*) FROM results_2026_01")
    [january] = by_month.fetchone()
    assert january
    by_month.execute("DROP TABLE results_2026_01")
    by_month.execute("SELECT count(*) FROM results_by_month")
    assert by_month.fetchone() == (before - january,)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_copy_by_month_takes_and_gives_out_results(by_month, api, user, submit):
    by_month.execute("ALTER TABLE detections_detectionresult RENAME TO undivided")
    by_month.execute("ALTER TABLE results_by_month RENAME TO detections_detectionresult")
    detection = submit(user, photo())
    process_waiting()
    found = api(user).get(f"/api/v1/detect/{detection.pk}").json()["images"][0]["results"]
    by_month.execute("SELECT count(*) FROM results_later WHERE detection_id = %s", [detection.pk])
    assert by_month.fetchone() == (len(found),) == (2,)
    assert api(user).delete(f"/api/v1/detect/{detection.pk}").status_code == 204
    assert not DetectionResult.objects.filter(detection=detection).exists()
