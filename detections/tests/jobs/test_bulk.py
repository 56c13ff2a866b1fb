"""One deed for many detections: at once or by workers, in chunks, once each however often workers die."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from detections import bulk, erasure, tasks
from detections.jobs.processing import process_waiting
from detections.models import BulkAction, Detection, DetectionImage
from testing.api import faults
from testing.files.pictures import photo

Priority = DetectionImage.Priority
URL = "/api/v1/detect/bulk"


def ask(client, action, ids):
    body = {"action": action, "detection_ids": [str(pk) for pk in ids]}
    return client.post(URL, body, format="json")


def change(client, action, *detections):
    response = ask(client, action, [each.pk for each in detections])
    assert response.status_code == 202, response.content
    return response.json()["count"]


def files(media):
    return [path for path in media.rglob("*") if path.is_file()]


@pytest.fixture
def three(submit, user):
    detections = [submit(user, photo()) for _ in range(3)]
    process_waiting()
    return detections


def changed(*detections):
    return list(Detection.objects.filter(pk__in=[each.pk for each in detections]).order_by("pk"))


def test_publishing_and_withdrawing_is_done_at_once_and_seen(api, user, three, settings):
    settings.MODERATION_REQUIRED = False
    client = api(user)
    tag = client.get(f"/api/v1/detect/{three[0].pk}")["ETag"]
    assert change(client, "publish", *three[:2]) == 2
    assert [each.is_public for each in changed(*three)] == [True, True, False]
    assert [each.moderation for each in changed(*three)] == ["approved", "approved", "pending"]
    shown = client.get(f"/api/v1/detect/{three[0].pk}", headers={"If-None-Match": tag})
    assert (shown.status_code, shown.json()["is_public"]) == (200, True)
    assert len(api().get("/api/v1/detect/public").json()["items"]) == 2
    assert change(client, "withdraw", *three) == 3
    assert not any(each.is_public for each in changed(*three))
    assert api().get("/api/v1/detect/public").json()["items"] == []
    settings.MODERATION_REQUIRED = True
    change(client, "publish", three[2])
    assert changed(three[2])[0].moderation == "pending"


def test_detections_are_deleted_with_their_files_by_a_worker(
    api, user, three, media, rings, django_capture_on_commit_callbacks
):
    client = api(user)
    with django_capture_on_commit_callbacks(execute=True):
        assert change(client, "delete", *three[:2]) == 2
    assert rings == [bulk.TASK]
    with django_capture_on_commit_callbacks(execute=True):
        tasks.change_many()
    assert changed(*three) == [three[2]]
    assert len(files(media)) == 1
    assert not BulkAction.objects.exists()


@pytest.mark.django_db(transaction=True)  # else no answer is kept
def test_kept_histories_are_dropped(api, user, submit, rings):
    client, detection = api(user), submit(user, photo())

    def history():
        return [row["is_public"] for row in client.get("/api/v1/detect/history").json()["items"]]

    shown = [history()]
    for action in ("publish", "withdraw", "delete"):
        change(client, action, detection)
        bulk.work_off()
        shown.append(history())
    assert shown == [[False], [True], [False], []]


@pytest.mark.parametrize("action", bulk.ACTIONS)
def test_foreign_and_missing_detections_are_ignored_and_duplicates_counted_once(
    api, user, stranger, submit, three, action
):
    foreign = submit(stranger, photo())
    before = Detection.objects.values().get(pk=foreign.pk)
    ids = [three[0].pk, three[0].pk, foreign.pk, uuid4()]
    assert ask(api(user), action, ids).json() == {"count": 1}
    bulk.work_off()
    assert Detection.objects.values().get(pk=foreign.pk) == before
    assert ask(api(user), action, [foreign.pk]).json() == {"count": 0}
    assert not BulkAction.objects.filter(detection_ids=[]).exists()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"action": "burn", "detection_ids": [str(uuid4())]}, ("invalid_choice", "action")),
        ({"action": "delete", "detection_ids": []}, ("invalid", "detection_ids")),
        ({"action": "delete", "detection_ids": ["1"]}, ("invalid", "detection_ids")),
        ({"action": "delete", "detection_ids": [str(uuid4())] * 1001}, ("max_length", "detection_ids")),
        ({"action": "delete"}, ("required", "detection_ids")),
        ({"action": "delete", "detection_ids": [str(uuid4())], "user": "x"}, ("unknown_field", "user")),
    ],
)
def test_what_is_not_understood_is_refused(api, user, body, fault):
    assert faults(api(user).post(URL, body, format="json")) == [fault]


def test_reprocessing_puts_finished_detections_behind_uploads(api, user, three, submit, rings):
    before = [each.results.first().pk for each in three]
    uploaded = submit(user, photo())
    assert change(api(user), "reprocess", *three) == 3
    bulk.work_off()
    assert rings[-1] == "detections.process_images"
    waiting = DetectionImage.objects.waiting().filter(detection__in=three).order_by("turn")
    assert list(waiting.values_list("priority", flat=True)) == [Priority.BACKGROUND] * 3
    assert [each.status for each in changed(*three)] == ["pending"] * 3
    assert change(api(user), "reprocess", three[0]) == 1  # it waits already
    bulk.work_off()
    assert not BulkAction.objects.exists()
    first = DetectionImage.objects.waiting().in_fair_order().first()
    assert first.detection == uploaded
    process_waiting()
    assert [each.status for each in changed(*three)] == ["completed"] * 3
    assert not {each.results.first().pk for each in three} & set(before)


def test_what_a_user_reprocesses_in_parts_waits_in_one_row(api, user, three):
    for detection in three:
        change(api(user), "reprocess", detection)
        bulk.work_off()
    turns = DetectionImage.objects.waiting().values_list("turn", flat=True)
    assert len(set(turns)) == 3


def test_no_more_is_reprocessed_at_once_than_may_wait(api, user, submit, three, settings):
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    change(api(user), "reprocess", *three)
    assert bulk.work_off() is False
    assert DetectionImage.objects.waiting().count() == 2
    bulk.work_off()
    assert [len(row.detection_ids) for row in BulkAction.objects.all()] == [1]
    process_waiting()
    bulk.work_off()
    assert DetectionImage.objects.waiting().count() == 1
    assert not BulkAction.objects.exists()


def test_a_batch_of_more_images_than_may_wait_is_reprocessed_alone(api, user, submit, three, settings):
    batch = submit(user, *[photo()] * 4)
    process_waiting()
    settings.MAX_WAITING_IMAGES_PER_USER = 2
    change(api(user), "reprocess", batch)
    bulk.work_off()
    assert DetectionImage.objects.waiting().count() == 4


def test_at_most_ten_are_unfinished(api, user, stranger, submit, three):
    client = api(user)
    for _ in range(10):
        change(client, "reprocess", three[0])
    refused = ask(client, "delete", [three[0].pk])
    assert faults(refused, 429) == [("throttled", None)]
    assert refused["Retry-After"] == "10"
    assert change(client, "withdraw", three[0]) == 1
    assert change(api(stranger), "delete", submit(stranger, photo())) == 1


def test_the_sweep_goes_on_with_what_a_killed_worker_left(api, user, three, rings, monkeypatch):
    class KilledError(BaseException):
        pass

    def delete_one(ids, delete=erasure.delete_detections):
        delete([min(ids)])
        raise KilledError

    change(api(user), "delete", *three)
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "delete_detections", delete_one)
        with pytest.raises(KilledError):
            bulk.work_off()
    assert Detection.objects.count() == 2
    tasks.sweep()
    assert bulk.TASK not in rings  # it may be slow, not dead
    BulkAction.objects.update(claimed_at=timezone.now() - timedelta(hours=1))
    tasks.sweep()
    assert bulk.TASK in rings
    tasks.change_many()
    assert (Detection.objects.count(), BulkAction.objects.count()) == (0, 0)


def test_large_detections_are_deleted_a_thousand_images_at_a_time(user, three):
    ids = [str(each.pk) for each in three]
    action = BulkAction(user=user, action="delete", detection_ids=ids)
    for totals, count in (((500, 500, 1), 2), ((1500, 1, 1), 1), ((1, 1, 1), 3)):
        for pk, total in zip(ids, totals, strict=True):
            Detection.objects.filter(pk=pk).update(total=total)
        assert bulk.next_ids(action) == ids[:count]


def test_users_take_turns(user, stranger, submit, monkeypatch):
    monkeypatch.setattr(bulk, "TURN_SECONDS", 0)
    monkeypatch.setattr(bulk, "LOCKED_AT_ONCE", 1)
    for owner in (user, stranger):
        mine = [submit(owner, photo()).pk for _ in range(3)]
        bulk.change_many(owner, "delete", mine)
    monkeypatch.setattr(bulk, "work_on", lambda action, _: action.update_claimed(claim=None))
    order = []
    for _ in range(4):
        assert bulk.work_off() is True
        order.append(BulkAction.objects.exclude(claimed_at=None).latest("claimed_at").user)
    assert order == [user, stranger, user, stranger]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("action", "queries"), [("publish", 6), ("withdraw", 6), ("delete", 7)])
def test_the_queries_of_a_request_do_not_grow(
    api, user, three, django_assert_num_queries, action, queries, count
):
    client = api(user)
    with django_assert_num_queries(queries):
        assert change(client, action, *three[:count]) == count


@pytest.mark.parametrize("action", ["delete", "reprocess"])
def test_the_queries_of_a_chunk_do_not_grow(user, three, action, django_assert_num_queries):
    costs = []
    for chosen in (three[:1], three[1:]):
        bulk.change_many(user, action, [each.pk for each in chosen])
        with CaptureQueriesContext(connection) as queries:
            bulk.work_off()
        costs.append(len(queries))
        DetectionImage.objects.waiting().update(state="done")
    assert costs[0] == costs[1]
