"""Staff see what there is; nobody gives themselves rights, and what the system wrote stays as it is."""

import pytest
from django.contrib.auth.models import Permission

from accounts.models import Session, User
from accounts.tokens import open_session
from detections import tasks
from detections.models import Detection
from notifications import mail
from notifications.models import Mail
from objectvision.tests.stack import photo

PAGES = [
    "accounts/user",
    "accounts/session",
    "accounts/apikey",
    "detections/detection",
    "detections/detector",
    "detections/export",
    "notifications/mail",
]


@pytest.fixture
def root(client, db):
    client.force_login(User.objects.create_superuser("root@example.com", "a-long-passphrase"))
    return client


@pytest.fixture
def clerk(client, db):
    """Staff who may change users."""
    user = User.objects.create_user("clerk@example.com", "a-long-passphrase", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client.force_login(user)
    return client


def test_staff_log_in_by_address(client, user):
    User.objects.filter(pk=user.pk).update(is_staff=True)
    credentials = {"username": "ADA@example.com", "password": "a-long-passphrase"}
    response = client.post("/admin/login/?next=/admin/", credentials)
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("rights", [{}, {"is_staff": True, "is_active": False}])
def test_others_do_not(client, user, rights):
    User.objects.filter(pk=user.pk).update(**rights)
    client.post("/admin/login/", {"username": user.email, "password": "a-long-passphrase"})
    assert client.get("/admin/").status_code == 302


def test_the_apis_token_opens_nothing_there(api, user):
    user.is_staff = user.is_superuser = True
    user.save()
    assert api(user).get("/admin/accounts/user/").status_code == 302


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("rows", [1, 3])
def test_lists_take_the_same_queries_however_long(
    root, submit, user, page, rows, django_assert_max_num_queries
):
    for _ in range(rows):
        submit(user, photo())
        open_session(user, "pytest")
        User.objects.create(email=f"{rows}-{User.objects.count()}@example.com")
        mail.send(mail.Kind.WELCOME, user.email)
    with django_assert_max_num_queries(8):
        assert root.get(f"/admin/{page}/").status_code == 200


def test_a_detection_is_looked_at_with_its_images_and_changed_by_nobody(root, submit, user):
    detection = submit(user, photo(), photo())
    url = f"/admin/detections/detection/{detection.pk}/change/"
    page = root.get(url).content.decode()
    assert "photo-1.jpg" in page
    assert "photo-2.jpg" in page
    assert root.post(url, {"name": "other"}).status_code == 403
    assert root.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Detection.objects.get().name == ""


def test_a_detection_is_found_by_id_owner_and_name(root, submit, user, stranger):
    mine, _ = submit(user, photo()), submit(stranger, photo())
    for search in (str(mine.pk), user.email):
        page = root.get("/admin/detections/detection/", {"q": search}).content.decode()
        assert str(mine.pk) in page
        assert stranger.email not in page
    assert root.get("/admin/detections/detection/", {"q": "%' OR 1=1"}).status_code == 200


def test_a_users_page_shows_no_hash_and_saves_name_and_address_in_lower_case(root, user):
    url = f"/admin/accounts/user/{user.pk}/change/"
    assert "argon2" not in root.get(url).content.decode()
    form = {"email": "ADA@Example.COM", "name": "Countess", "is_active": "on"}
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    assert root.post(url, {**form, **settings}).status_code == 302
    user.refresh_from_db()
    assert (user.email, user.name) == ("ada@example.com", "Countess")


def test_an_address_that_another_has_is_refused_whatever_its_case(root, user, stranger):
    url = f"/admin/accounts/user/{user.pk}/change/"
    form = {"email": stranger.email.upper(), "settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    response = root.post(url, form)
    assert response.status_code == 200
    assert b"already exists" in response.content


def test_sessions_are_ended_and_counted(root, user, api):
    client = api(user)
    user_agents = {"action": "end_sessions", "_selected_action": [str(user.pk)]}
    page = root.post("/admin/accounts/user/", user_agents, follow=True)
    assert b"1 sessions ended." in page.content
    assert client.get("/api/v1/users/get-profile").status_code == 401
    assert Session.objects.get().revoked_at is not None


def test_who_may_change_users_gives_nobody_rights(clerk, user):
    form = {
        "email": user.email, "is_active": "on", "is_staff": "on", "is_superuser": "on",
        "settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0",
    }  # fmt: skip  # a list to read at a glance
    assert clerk.post(f"/admin/accounts/user/{user.pk}/change/", form).status_code == 302
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser) == (False, False)


def test_who_may_change_users_does_not_get_at_a_superuser(clerk):
    root = User.objects.create_superuser("root@example.com", "a-long-passphrase")
    password = {"password1": "another-passphrase", "password2": "another-passphrase"}
    assert clerk.post(f"/admin/accounts/user/{root.pk}/password/", password).status_code == 403
    assert clerk.post(f"/admin/accounts/user/{root.pk}/change/", {"email": "x@y.zz"}).status_code == 403
    root.refresh_from_db()
    assert root.check_password("a-long-passphrase")


def test_no_user_is_deleted_here_where_the_files_would_stay(root, user):
    assert root.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=user.pk).exists()


def test_staff_send_again_what_has_failed_and_change_nothing_else(root, django_capture_on_commit_callbacks):
    rows = {
        state: Mail.objects.create(kind="welcome", to="ada@example.com", state=state, attempts=7, error="500")
        for state in Mail.State.values
    }
    chosen = {"action": "send_again", "_selected_action": [str(row.pk) for row in rows.values()]}
    with django_capture_on_commit_callbacks() as callbacks:
        page = root.post("/admin/notifications/mail/", chosen, follow=True)
    assert b"1 mails wait to be sent again." in page.content
    assert callbacks == [mail.ring]
    assert list(Mail.objects.order_by("pk").values_list("state", flat=True)) == [
        "waiting",
        "sending",
        "sent",
        "waiting",
        "dropped",
    ]
    rows["failed"].refresh_from_db()
    assert (rows["failed"].attempts, rows["failed"].error) == (0, "")
    url = f"/admin/notifications/mail/{rows['failed'].pk}"
    assert root.get(f"{url}/change/").status_code == 200
    assert root.post(f"{url}/change/", {"to": "eve@example.com"}).status_code == 403
    assert root.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    assert root.get("/admin/notifications/mail/add/").status_code == 403


def test_who_may_only_read_mails_sends_none(clerk):
    clerk_user = User.objects.get(email="clerk@example.com")
    clerk_user.user_permissions.add(Permission.objects.get(codename="view_mail"))
    failed = Mail.objects.create(kind="welcome", to="ada@example.com", state="failed")
    assert clerk.get("/admin/notifications/mail/").status_code == 200
    clerk.post("/admin/notifications/mail/", {"action": "send_again", "_selected_action": [str(failed.pk)]})
    failed.refresh_from_db()
    assert failed.state == "failed"


def test_staff_close_accounts_but_no_superusers(root, user, submit):
    submit(user, photo())
    superuser = User.objects.get(is_superuser=True)
    selected = {"action": "close_accounts", "_selected_action": [user.pk, superuser.pk]}
    answer = root.post("/admin/accounts/user/", selected, follow=True)
    assert "1 accounts closed" in answer.content.decode()
    tasks.sweep()
    assert list(User.objects.all()) == [superuser]
    assert not Detection.objects.exists()


def test_who_may_only_change_users_closes_no_account(clerk, user):
    clerk.post("/admin/accounts/user/", {"action": "close_accounts", "_selected_action": [user.pk]})
    user.refresh_from_db()
    assert user.closed_at is None


def test_who_may_change_users_does_not_get_at_other_staff(clerk, api):
    """Setting the password of somebody with other rights is getting these."""
    other = User.objects.create_user("other@example.com", "a-long-passphrase", is_staff=True)
    session = api(other)
    form = {"password1": "another-passphrase", "password2": "another-passphrase", "usable_password": "true"}
    assert clerk.post(f"/admin/accounts/user/{other.pk}/password/", form).status_code == 403
    assert clerk.post(f"/admin/accounts/user/{other.pk}/change/", {"email": "x@y.zz"}).status_code == 403
    clerk.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [str(other.pk)]})
    assert session.get("/api/v1/users/get-profile").status_code == 200


def test_staff_change_their_own_name(clerk):
    own = User.objects.get(email="clerk@example.com")
    form = {"email": own.email, "name": "Clerk", "is_active": "on"}
    settings = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}
    assert clerk.post(f"/admin/accounts/user/{own.pk}/change/", {**form, **settings}).status_code == 302
    own.refresh_from_db()
    assert (own.name, own.is_staff) == ("Clerk", True)


def test_who_may_only_look_at_users_ends_no_sessions(clerk, user, api):
    session = api(user)
    User.objects.get(email="clerk@example.com").user_permissions.set(
        Permission.objects.filter(codename="view_user")
    )
    clerk.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [str(user.pk)]})
    assert session.get("/api/v1/users/get-profile").status_code == 200


OWN_PASSWORD = "/admin/password_change/"


def new_password(client, old):
    form = {"new_password1": "another-passphrase", "new_password2": "another-passphrase"}
    return client.post(OWN_PASSWORD, {"old_password": old, **form})


def test_a_stolen_cookie_does_not_help_to_find_the_password(clerk):
    for guess in range(10):
        assert b"entered incorrectly" in new_password(clerk, f"guess-{guess}").content
    assert b"Too many wrong tries" in new_password(clerk, "a-long-passphrase").content
    assert User.objects.get(email="clerk@example.com").check_password("a-long-passphrase")


def test_a_change_of_ones_own_password_ends_sessions_of_the_api_and_is_mailed(clerk, api):
    own = User.objects.get(email="clerk@example.com")
    session = api(own)
    assert clerk.get(OWN_PASSWORD).status_code == 200
    answer = new_password(clerk, "a-long-passphrase")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/done/")
    assert clerk.get("/admin/").status_code == 200
    own.refresh_from_db()
    assert own.check_password("another-passphrase")
    assert session.get("/api/v1/users/get-profile").status_code == 401
    assert list(Mail.objects.values_list("kind", "to")) == [("password_changed", "clerk@example.com")]
