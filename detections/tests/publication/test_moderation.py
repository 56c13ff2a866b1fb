"""Publishing, the decisions of staff, and the reports of visitors."""

from operator import itemgetter

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User, UserSettings
from detections import erasure
from detections.api import visitor_pages, visitors
from detections.models import Detection
from detections.publication import moderation
from detections.publication.models import PublicReport
from notifications.mail import rendering
from notifications.models import Event, Mail
from testing.api import IMAGE, faults, file_of
from testing.files.pictures import photo

PUBLIC = "/api/v1/detect/public"
ADMIN = "/admin/detections/publicdetection/"


@pytest.fixture
def publish(api, user):
    """The owner's PATCH, and the moderation that it leads to."""

    def patch(detection, *, is_public=True):
        response = api(user).patch(f"/api/v1/detect/{detection.pk}", {"is_public": is_public})
        return response.json()["moderation"]

    return patch


@pytest.fixture
def moderator(db):
    """Staff with the rights of a moderator and no others."""
    staff = User.objects.create_user("mod@example.com", "a-long-passphrase", is_staff=True)
    rights = ("view_publicdetection", "change_publicdetection")
    staff.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def act(moderator):
    def post(action, *detections, **fields):
        chosen = [str(detection.pk) for detection in detections]
        form = {"action": action, "_selected_action": chosen, **fields}
        response = moderator.post(ADMIN, form, follow=True)
        return [str(message) for message in response.context["messages"]]

    return post


def told(user):
    """The types and reasons of the owner's events about decisions."""
    events = Event.objects.filter(user=user, type__in=["detection.approved", "detection.rejected"])
    return [(event.type, event.data["moderation_reason"]) for event in events.order_by("pk")]


def state_of(detection):
    detection.refresh_from_db()
    return detection.moderation, detection.moderation_reason


def test_what_is_published_waits_for_staff(finished, publish, api):
    assert publish(finished) == "pending"
    assert api().get(f"{PUBLIC}/{finished.pk}").status_code == 404


@pytest.mark.parametrize("required", [True, False])
def test_without_moderation_it_is_approved_at_once(finished, publish, api, settings, required):
    settings.MODERATION_REQUIRED = required
    assert publish(finished) == ("pending" if required else "approved")
    assert api().get(f"{PUBLIC}/{finished.pk}").status_code == (404 if required else 200)


@pytest.mark.parametrize(("required", "expected"), [(True, "pending"), (False, "approved")])
def test_an_upload_may_be_public_from_the_beginning(api, user, detector, settings, required, expected):
    settings.MODERATION_REQUIRED = required
    client = api(user)
    for is_public in ("true", "false"):
        client.post(IMAGE, {"image": file_of(photo()), "is_public": is_public}, format="multipart")
    public, private = Detection.objects.order_by("-is_public")
    assert (public.moderation, private.moderation) == (expected, "pending")


def test_a_rejection_tells_the_owner_why_and_a_new_attempt_waits_again(
    finished, publish, act, api, user, stranger
):
    publish(finished)
    assert act("reject", finished, reason="It shows a face.") == ["1 detections are rejected."]
    shown = api(user).get(f"/api/v1/detect/{finished.pk}").json()
    assert (shown["moderation"], shown["moderation_reason"]) == ("rejected", "It shows a face.")
    assert told(user) == [("detection.rejected", "It shows a face.")]
    assert told(stranger) == []
    assert publish(finished) == "pending"
    act("approve", finished)
    assert state_of(finished) == ("approved", "")
    assert told(user) == [("detection.rejected", "It shows a face."), ("detection.approved", "")]
    assert api().get(f"{PUBLIC}/{finished.pk}").status_code == 200


def test_what_was_rejected_waits_for_staff_even_where_nothing_else_does(finished, publish, settings):
    settings.MODERATION_REQUIRED = False
    publish(finished)
    moderation.reject([finished.pk], "No.")
    assert publish(finished) == "pending"
    assert publish(finished, is_public=False) == "pending"
    assert publish(finished) == "pending"


def test_what_staff_have_hidden_its_owner_cannot_show_again(finished, publish, act, api):
    publish(finished)
    act("hide", finished)
    assert publish(finished) == "hidden"
    publish(finished, is_public=False)
    assert publish(finished) == "hidden"
    assert api().get(f"{PUBLIC}/{finished.pk}").status_code == 404


def test_an_approval_outlives_a_withdrawal(published, publish, api):
    publish(published, is_public=False)
    assert api().get(f"{PUBLIC}/{published.pk}").status_code == 404
    assert publish(published) == "approved"
    assert api().get(f"{PUBLIC}/{published.pk}").status_code == 200


def test_a_decision_is_mailed_once_to_each_owner(finished, submit, user, stranger, act):
    others = [submit(owner, photo()) for owner in (user, stranger)]
    for detection in (finished, *others):
        detection.change(is_public=True)
    act("reject", finished, *others, reason="It shows <a face>.")
    mails = Mail.objects.order_by("to").values_list("kind", "to", "data")
    assert list(mails) == sorted(
        [
            ("detection_rejected", user.email, {"count": 2, "reason": "It shows <a face>."}),
            ("detection_rejected", stranger.email, {"count": 1, "reason": "It shows <a face>."}),
        ],
        key=itemgetter(1),
    )
    message = rendering.render_mail(Mail.objects.get(to=user.email))
    ((html, _),) = message.alternatives
    assert "“It shows <a face>.”" in message.body
    assert "“It shows &lt;a face&gt;.”" in html


def test_an_approval_is_mailed_with_a_link_and_hiding_is_not(finished, publish, act, user):
    publish(finished)
    act("hide", finished)
    assert not Mail.objects.exists()
    act("approve", finished)
    act("approve", finished)  # changes nothing
    mail = Mail.objects.get()
    assert (mail.kind, mail.to, mail.state) == ("detection_approved", user.email, "waiting")
    assert f"\nhttp://localhost:8000/p/{finished.pk}\n" in rendering.render_mail(mail).body
    UserSettings.objects.update_or_create(user=user, defaults={"notifications": False})
    with pytest.raises(rendering.NoReaderError):
        rendering.render_mail(mail)


def test_owners_cannot_decide_themselves(finished, publish, api, user):
    publish(finished)
    api(user).patch(f"/api/v1/detect/{finished.pk}", {"moderation": "approved", "moderation_reason": "Mine"})
    assert state_of(finished) == ("pending", "")


def test_staff_decide_about_public_detections_only(finished, moderator, act, user):
    act("approve", finished)
    assert moderation.approve([finished.pk]) == 0
    assert state_of(finished) == ("pending", "")
    assert told(user) == []
    assert str(finished.pk) not in moderator.get(ADMIN).content.decode()
    assert moderator.get(f"{ADMIN}{finished.pk}/change/").status_code == 302
    assert moderator.get(f"{ADMIN}pictures/{finished.images.get().pk}").status_code == 404


def test_a_decision_that_changes_nothing_tells_nothing(published, act, user):
    act("approve", published)
    assert told(user) == []


def test_a_rejection_needs_a_reason(finished, publish, act):
    publish(finished)
    for reason in ("", "  "):
        assert act("reject", finished, reason=reason) == [
            "Write a reason of 1 to 500 characters: the owner reads it."
        ]
    act("reject", finished, reason="x" * 501)
    assert state_of(finished) == ("pending", "")


def test_moderators_see_the_pictures_and_need_the_right_to_act(finished, publish, moderator):
    publish(finished)
    image = finished.images.get()
    page = moderator.get(f"{ADMIN}{finished.pk}/change/").content.decode()
    assert f"pictures/{image.pk}" in page
    assert content_of_picture(moderator, image).startswith(b"\xff\xd8")
    assert moderator.get("/admin/detections/detection/").status_code == 403
    User.objects.get(email="mod@example.com").user_permissions.set(
        Permission.objects.filter(codename="view_publicdetection")
    )
    moderator.post(ADMIN, {"action": "approve", "_selected_action": [str(finished.pk)]})
    assert state_of(finished) == ("pending", "")
    User.objects.get(email="mod@example.com").user_permissions.clear()
    assert moderator.get(f"{ADMIN}pictures/{image.pk}").status_code == 403


def test_moderators_see_pictures_that_are_not_processed_yet(submit, user, moderator):
    """An approval is of all pictures, also of those that are done after it."""
    batch = submit(user, photo(), photo(colour=(9, 9, 9)))
    batch.change(is_public=True)
    page = moderator.get(f"{ADMIN}{batch.pk}/change/").content.decode()
    listed = moderator.get(ADMIN).content.decode()
    first, second = batch.images.order_by("pk")
    assert f"pictures/{first.pk}" in page
    assert f"pictures/{second.pk}" in page
    assert f"pictures/{first.pk}" in listed
    assert content_of_picture(moderator, second).startswith(b"\xff\xd8")


@pytest.fixture
def name_class(api, user):
    """The owner adds a box or relabels the first result; the moderation of the detection afterwards."""

    def put(detection, name, *, relabel=False):
        client, path = api(user), f"/api/v1/detect/{detection.pk}/results"
        if relabel:
            result = detection.results.first()
            response = client.patch(f"{path}/{result.pk}", {"object_class": name})
        else:
            box = {"x": 0, "y": 0, "width": 0.5, "height": 0.5}
            image = str(detection.images.get().pk)
            response = client.post(path, {"image_id": image, "object_class": name, "bbox_normalized": box})
        assert response.status_code in {200, 201}
        return state_of(detection)[0]

    return put


@pytest.mark.parametrize("relabel", [True, False])
def test_a_name_that_staff_have_not_seen_waits_for_them(published, name_class, act, moderator, api, relabel):
    assert name_class(published, "beta", relabel=relabel) == "approved"  # the detector knows it
    assert name_class(published, "Buy <b>now</b>", relabel=relabel) == "pending"
    assert api().get(f"{PUBLIC}/{published.pk}").status_code == 404
    page = moderator.get(f"{ADMIN}{published.pk}/change/").content.decode()
    assert "“Buy &lt;b&gt;now&lt;/b&gt;”" in page
    act("approve", published)
    assert name_class(published, "Buy <b>now</b>") == "approved"


def test_a_name_that_was_rejected_when_staff_looked_waits_for_them(published, name_class, api, user):
    name_class(published, "Buy now")
    added = published.results.get(source="person")
    path = f"/api/v1/detect/{published.pk}/results/{added.pk}"
    api(user).patch(path, {"review": "rejected"})
    moderation.approve([published.pk])
    api(user).patch(path, {"review": "accepted"})
    assert state_of(published)[0] == "pending"


def test_where_staff_need_not_look_first_a_new_name_is_shown(published, name_class, settings):
    settings.MODERATION_REQUIRED = False
    assert name_class(published, "scooter") == "approved"


def content_of_picture(client, image):
    return client.get(f"{ADMIN}pictures/{image.pk}").content


def test_a_withdrawal_and_an_approval_at_once_end_in_a_state_of_either_order(
    user, transactional_db, finished, at_once
):
    finished.change(is_public=True)
    at_once(
        lambda: moderation.approve([finished.pk]),
        lambda: moderation.change_detection(Detection.objects.get(pk=finished.pk), is_public=False),
    )
    finished.refresh_from_db()
    assert not finished.is_public
    assert (told(user) != []) == (finished.moderation == "approved")


# Reports.


def send(client, detection, reason="It shows me.", address="192.0.2.1", **extra):
    return client.post(f"{PUBLIC}/{detection.pk}/report", {"reason": reason}, REMOTE_ADDR=address, **extra)


def test_a_report_is_kept_once_from_each_address_and_without_the_address(published, api):
    for address in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.7"):
        assert send(api(), published, address=address).status_code == 204
    reports = PublicReport.objects.all()
    assert len(reports) == 3  # an IPv6 network of 64 bits is one subscriber's
    assert {report.reason for report in reports} == {"It shows me."}
    assert not any("192.0.2" in str(value) for row in reports.values() for value in row.values())


def test_hashes_of_one_address_differ_from_detection_to_detection(published, api, submit, user):
    other = submit(user, photo())
    other.change(is_public=True, moderation="approved", status="completed", processed=1)
    for detection in (published, other):
        send(api(), detection)
    assert PublicReport.objects.values("reporter_hash").distinct().count() == 2


@pytest.mark.parametrize(
    ("reason", "code"),
    [("", "blank"), ("   ", "blank"), ("x" * 501, "max_length"), (None, "null"), (5, "invalid")],
)
def test_a_reason_has_1_to_500_characters(published, api, reason, code):
    assert faults(send(api(), published, reason)) == [(code, "reason")]
    assert not PublicReport.objects.exists()


def test_only_what_is_public_can_be_reported_and_404_comes_before_400(finished, published, api):
    published.change(is_public=False)
    for body in ({"reason": "x"}, {"nonesuch": 1}, {}):
        assert api().post(f"{PUBLIC}/{finished.pk}/report", body).status_code == 404


def test_a_decision_resolves_the_reports(published, api, act, moderator):
    send(api(), published, "It shows <b>me</b>.")
    listed = moderator.get(f"{ADMIN}?reports=open").content.decode()
    assert str(published.images.get().pk) in listed
    page = moderator.get(f"{ADMIN}{published.pk}/change/").content.decode()
    assert "It shows &lt;b&gt;me&lt;/b&gt;." in page
    assert PublicReport.objects.get().reporter_hash not in page
    act("approve", published)
    assert not PublicReport.objects.open().exists()
    assert str(published.images.get().pk) not in moderator.get(f"{ADMIN}?reports=open").content.decode()
    assert send(api(), published).status_code == 204
    assert PublicReport.objects.count() == 1  # the same visitor says nothing new


def test_a_report_of_what_is_deleted_meanwhile_is_404(submit, user, api, monkeypatch):
    def delete_all(_request):
        erasure.delete_detections(list(Detection.objects.values_list("pk", flat=True)))
        return "192.0.2.1"

    monkeypatch.setattr(visitors, "address", delete_all)
    monkeypatch.setattr(visitor_pages, "address", delete_all)
    for report in (send, report_on_page):
        detection = submit(user, photo())
        detection.change(is_public=True, moderation="approved", status="completed", processed=1)
        assert report(api(), detection).status_code == 404


def report_on_page(_client, detection):
    return Client().post(f"/p/{detection.pk}", {"reason": "It shows me."})


def test_a_flood_of_reports_is_bounded(published, api, monkeypatch):
    monkeypatch.setattr(moderation, "MOST_REPORTS", 3)
    for number in range(6):
        assert send(api(), published, address=f"192.0.2.{number}").status_code == 204
    assert PublicReport.objects.count() == 3


def test_visitors_are_throttled_by_address_whatever_credentials_they_send(published, api, user, settings):
    settings.THROTTLES = {**settings.THROTTLES, "anon": (3, 60)}
    client = api(user)
    paths = [PUBLIC, f"{PUBLIC}/{published.pk}", f"/p/{published.pk}"]
    assert [client.get(path).status_code for path in paths] == [200, 200, 200]
    for path in (*paths, f"{PUBLIC}/{published.pk}/image", "/s/unknown", "/api/v1/detect/shared/unknown"):
        refused = client.get(path)
        assert (refused.status_code, bool(refused["Retry-After"])) == (429, True)
    assert send(client, published, address="127.0.0.1").status_code == 429
    assert client.get(PUBLIC, REMOTE_ADDR="192.0.2.9").status_code == 200


def test_a_visitor_reports_on_the_page(published):
    client, page = Client(), f"/p/{published.pk}"
    response = client.post(page, {"reason": "It shows\nme & you."})
    assert (response.status_code, response["Location"]) == (302, f"{page}?reported")
    assert "Thank you" in client.get(f"{page}?reported").content.decode()
    assert PublicReport.objects.get().reason == "It shows\nme & you."


def test_the_page_keeps_what_was_written_and_says_what_is_wrong(published):
    written = "<script>" + "x" * 500
    response = Client().post(f"/p/{published.pk}", {"reason": written})
    page = response.content.decode()
    assert response.status_code == 400
    assert "Write 1 to 500 characters." in page
    assert "&lt;script&gt;xxx" in page
    assert "<script>" not in page
    assert not PublicReport.objects.exists()


def test_the_end_of_a_line_counts_as_one_character(published):
    """As browsers count for the form's `maxlength`; they send two."""
    reason = f"{'x' * 249}\r\n{'y' * 250}"
    assert Client().post(f"/p/{published.pk}", {"reason": reason}).status_code == 302
    assert len(PublicReport.objects.get().reason) == 500


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_other_sites_cannot_let_their_visitors_report(published, site):
    response = Client().post(f"/p/{published.pk}", {"reason": "x"}, headers={"Sec-Fetch-Site": site})
    assert response.status_code == 404
    assert not PublicReport.objects.exists()
