"""The history's page: the same rows as the API's, for its owner alone."""

from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.history.words import read_words
from detections.jobs import processing
from detections.models import Detection
from testing.files.pictures import photo

pytestmark = pytest.mark.django_db
HOSTILE = '"><img src=x onerror=alert(1)> \u202egnp.\u202c \U0001f600'


def ids(response):
    assert response.status_code == 200, response.content
    return [part.partition('"')[0] for part in response.content.decode().split('data-id="')[1:]]


def strings(*detections):
    return [str(detection.pk) for detection in detections]


@pytest.fixture
def make(user, detector):
    """Detections without images: `make(3, status="failed")`."""

    def make(count=1, owner=user, **values):
        new = [Detection(user=owner, detector=detector, **values) for _ in range(count)]
        return Detection.objects.bulk_create(new)

    return make


def test_visitors_are_led_to_the_log_in_and_back(console):
    response = console().get("/history?status=failed")
    assert response.headers["Location"] == "/login?next=%2Fhistory%3Fstatus%3Dfailed"
    fragment = console().get("/history/cards", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"][:6]) == (204, "/login")


def test_a_page_shows_own_detections_newest_first_with_what_was_found(console, submit, user, stranger):
    first, second = submit(user, photo()), submit(user, photo(), photo())
    submit(stranger, photo())
    processing.process_waiting()
    response = console(user).get("/history")
    assert ids(response) == strings(second, first)
    page = response.content.decode()
    assert f"/api/v1/detect/{first.pk}/images/{first.images.get().pk}/thumbnail" in page
    assert "<bdi>alpha</bdi>" in page
    assert "2 pictures" in page
    assert "2 detections" in page


def test_nothing_yet_teaches_the_first_step(console, user):
    page = console(user).get("/history").content.decode()
    assert "No detections yet" in page
    assert "Detect objects" in page


def test_nothing_that_matches_offers_to_clear(console, user, make):
    make()
    page = console(user).get("/history?status=failed").content.decode()
    assert "Nothing matches" in page
    assert "Clear filters" in page


@pytest.mark.parametrize(
    "question",
    [
        "status=failed",
        "object_class=alpha",
        "min_confidence=0.999999",
        "object_class=alpha&min_confidence=0.1",
        "detector=standin",
        "detector=other",
        "search=gate",
        "created_after=2000-01-01",
        "created_before=2000-01-01",
        "ordering=name",
        "ordering=-total",
        "ordering=-finished_at",
    ],
)
def test_page_and_api_answer_alike(console, api, submit, user, question):
    submit(user, photo()).change(name="Gate")
    submit(user, photo(), photo()).change(name="Yard")
    processing.process_waiting()
    submit(user, photo()).change(status="failed")
    rows = api(user).get(f"/api/v1/detect/history?{question}").json()["items"]
    assert ids(console(user).get(f"/history?{question}")) == [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("class:person", "object_class=person"),
        ('class:"traffic light" conf>0.5', "object_class=traffic+light&min_confidence=0.5"),
        ("conf>=50% Street corner", "min_confidence=0.5&search=Street+corner"),
        ("after:2026-11-01 before:2026-12-01", "created_after=2026-11-01&created_before=2026-12-01"),
        ("detector:yolo26n status:failed", "detector=yolo26n&status=failed"),
        ("status:Done", "status=completed"),
        ("status:completed", "status=completed"),
        ('"class:person" 12:30', "search=class%3Aperson+12%3A30"),
        ("sort:-name", "ordering=-name"),
    ],
)
def test_words_become_conditions_of_the_address(console, user, typed, address):
    response = console(user).get("/history", {"q": typed})
    assert (response.status_code, response.headers["Location"]) == (302, f"/history?{address}")


def test_words_are_added_to_what_is_filtered_already(console, user):
    response = console(user).get("/history", {"q": "conf>0.5", "status": "failed", "min_confidence": "0.2"})
    assert response.headers["Location"] == "/history?status=failed&min_confidence=0.5"


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("colour:red", "There is no filter “colour:”."),
        ("conf<0.5", "Only a lowest confidence can be asked for"),
        ("conf>high", "“high” is not understood. A confidence is a number from 0 to 1"),
        ("conf>2", "“2” is not understood."),
        ("status:over", "“over” is not understood. A status is one of waiting, processing, done"),
        ("after:soon", "A time is a day such as 2026-11-01"),
        ("class:", "“class:” has no value."),
        ("class>person", "Write class: instead of class>."),
        ("x" * 300, "A text has up to 200 letters."),
        ("a\0b", "is not understood."),
    ],
)
def test_words_that_are_not_understood_are_kept_with_the_reason(console, user, make, typed, fault):
    [kept] = make(status="failed")
    make()
    response = console(user).get("/history", {"q": typed, "status": "failed"})
    assert ids(response) == strings(kept)
    page = unescape(response.content.decode())
    assert fault in page
    assert f'value="{typed}"' in page


@pytest.mark.parametrize(
    "question", ["min_confidence=x", "status=x", "created_after=x", "ordering=x", "colour=red", "search=%00"]
)
def test_an_address_that_is_not_understood_filters_nothing_and_says_so(console, user, make, question):
    made = make()
    response = console(user).get(f"/history?{question}")
    assert ids(response) == strings(*made)
    assert 'role="alert"' in response.content.decode()
    assert console(user).get(f"/history/ids?{question}").status_code == 400


@pytest.mark.parametrize("question", ["status=", "search=+", "offset=-1", "offset=x", "offset=" + "9" * 400])
def test_empty_conditions_and_odd_places_are_none(console, user, make, question):
    made = make()
    response = console(user).get(f"/history?{question}")
    assert ids(response) == strings(*made)
    assert 'role="alert"' not in response.content.decode()


def test_each_row_is_on_one_page(console, user, make):
    made = make(82)
    client = console(user)
    pages = [ids(client.get(f"/history?offset={offset}")) for offset in (0, 36, 72)]
    assert [len(page) for page in pages] == [36, 36, 10]
    assert sorted(pk for page in pages for pk in page) == sorted(strings(*made))
    assert 'href="/history?offset=36"' in client.get("/history").content.decode()


def test_the_next_part_comes_without_the_page_around_it(console, user, make):
    make(37)
    response = console(user).get("/history?offset=36", headers={"HX-Request": "true"})
    assert len(ids(response)) == 1
    assert "<html" not in response.content.decode()


def test_a_page_asks_as_often_for_one_row_as_for_thirty(console, submit, user):
    client = console(user)
    counts = []
    for rows in (1, 29):
        for _ in range(rows):
            submit(user, photo())
        processing.process_waiting()
        for address in ("/history", "/history?object_class=alpha&search=photo", "/history/cards?ids="):
            with CaptureQueriesContext(
                connection,
            ) as asked:
                client.get(address)
            counts.append(len(asked))
    assert counts[:3] == counts[3:] == [6, 6, 2]


def test_hostile_names_stay_text(console, user, make):
    make(name=HOSTILE)
    make(name="n" * 200)
    page = console(user).get("/history", {"search": "<img src=y>"}).content.decode()
    page += console(user).get("/history").content.decode()
    assert "<img src=x" not in page
    assert "<img src=y" not in page
    assert HOSTILE in unescape(page)


def test_cards_are_redrawn_for_their_owner_alone(console, user, stranger, make):
    [mine], [other] = make(), make(owner=stranger, name="Secret")
    response = console(user).get(f"/history/cards?ids={mine.pk},{other.pk},nonsense,")
    assert ids(response) == strings(mine)
    page = response.content.decode()
    assert f'id="d-{other.pk}" hx-swap-oob="delete"' in page
    assert "Secret" not in page


def test_newer_detections_that_fulfil_the_conditions_are_counted(console, user, stranger, make):
    [first] = make()
    make(2)
    make(status="failed")
    make(owner=stranger)
    page = console(user).get(f"/history/cards?newer={first.pk}&status=pending").content.decode()
    assert ">2 new<" in page.replace("\n", "")


def test_ids_of_all_that_match_come_in_chunks(console, user, stranger, make, monkeypatch):
    monkeypatch.setattr("console.views.history.MOST_IDS", 2)
    one, two, three = make(3, status="failed")
    make()
    make(owner=stranger, status="failed")
    client = console(user)
    assert client.get("/history/ids?status=failed").json() == {"ids": strings(three, two)}
    rest = client.get(f"/history/ids?status=failed&before={two.pk}").json()
    assert rest == {"ids": strings(one)}


def test_the_view_is_kept_for_each_account(console, user, stranger, make):
    make()
    make(owner=stranger)
    client = console(user)
    response = client.get("/history?status=pending&view=table")
    assert response.headers["Location"] == "/history?status=pending"
    assert 'class="history" data-view="table"' in client.get("/history").content.decode()
    other = console(stranger)
    other.cookies[f"history-{user.pk}"] = "table"
    assert 'class="history" data-view="grid"' in other.get("/history").content.decode()


def test_menus_offer_what_the_user_has(console, submit, user, stranger):
    submit(user, photo())
    processing.process_waiting()
    page = console(user).get("/history").content.decode()
    assert 'href="?object_class=alpha"' in page
    assert 'href="?detector=standin"' in page
    theirs = console(stranger).get("/history?status=failed").content.decode()
    assert "object_class=alpha" not in theirs


def test_a_chip_leads_to_the_page_without_it(console, user):
    page = console(user).get("/history?object_class=a%26b&status=completed&ordering=name").content.decode()
    assert 'href="?status=completed&amp;ordering=name" title="class: a&amp;b"' in page
    assert 'href="?object_class=a%26b&amp;ordering=name" title="status: done"' in page


def test_free_words_are_one_text():
    assert read_words("  Car   park ").conditions == {"search": "Car park"}
    assert read_words("").conditions == {}
