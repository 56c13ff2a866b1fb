"""All spellings of a mailbox have one normalised form; invisible and ambiguous characters are refused."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from accounts.models import FailedLogin, User
from notifications.models import Mail
from objectvision.lib.addresses import as_stored, normalised

pytestmark = pytest.mark.usefixtures("unthrottled")

PASSWORD = "a-long-passphrase"
API = "/api/v1/auth"
WIDE = "\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45"  # "example" in full-width letters
# {spelling: its normalised form}
SPELLINGS = {
    "ada@example.com": "ada@example.com",
    "Ada@EXAMPLE.com": "ada@example.com",
    f"ada@{WIDE}.com": "ada@example.com",
    "ada@example\uff0ecom": "ada@example.com",
    "ada@example\u3002com": "ada@example.com",
    "ada@examp\u2113e.com": "ada@example.com",
    "ada@e\u24e7ample.com": "ada@example.com",
    "ada@sho\u017f.de": "ada@shos.de",
    "ada@\u4f8b\u3048.jp": "ada@xn--r8jz45g.jp",
    "ada@XN--R8JZ45G.jp": "ada@xn--r8jz45g.jp",
    "ada@stra\xdfe.de": "ada@xn--strae-oqa.de",
    "ada@bu\u0308cher.de": "ada@xn--bcher-kva.de",
    "ada@b\xfccher.de": "ada@xn--bcher-kva.de",
    "ada+x.y@ab--cd.com": "ada+x.y@ab--cd.com",
}
INVISIBLE = {
    "soft hyphen": "\xad",
    "zero-width space": "\u200b",
    "zero-width non-joiner": "\u200c",
    "zero-width joiner": "\u200d",
    "word joiner": "\u2060",
    "byte-order mark": "\ufeff",
    "grapheme joiner": "\u034f",
    "right-to-left mark": "\u200f",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "tag": "\U000e0061",
    "variation selector": "\ufe0f",
    "Hangul filler": "\u3164",
    "Mongolian selector": "\u180b",
    "control character": "\x07",
    "no-break space": "\xa0",
    "line end": "\n",
    "line separator": "\u2028",
    "private use": "\ue000",
    "unassigned": "\u0378",
}
NO_ADDRESSES = [
    "root@localhost", "root@LOCALHOST",
    "", "ada", "@", "ada@", "@example.com", "ada@example", "ada@b@example.com", "a b@example.com",
    ".ada@example.com", "ada.@example.com", "a..b@example.com", "x" * 65 + "@example.com",
    '"ada"@example.com', '"a b"@example.com', "\u017fam@example.com", "\u212aim@example.com",
    "\u0131@example.com",
    "\u0130@example.com", "\xe4da@example.com", "\uff41da@example.com", "\u0430da@example.com",
    "ada@example.com.", "ada@.example.com", "ada@example..com", "ada@-example.com", "ada@[127.0.0.1]",
    "ada@[IPv6:::1]", "ada@127.0.0.1", "ada@exa_mple.com", "ada@xn--.com", "ada@xn--a.com",
    "ada@xn--zzzzzz99999.com", "ada@" + "x" * 64 + ".com", "ada@\u2615.us", "ada@exa%6dple.com",
    "ada@example.com>", "ada@\u2100.com", "ada@example.com/x",
]  # fmt: skip  # a list to read at a glance


@pytest.mark.parametrize(("spelling", "form"), SPELLINGS.items())
def test_spellings_of_a_mailbox_have_one_normalised_form(spelling, form):
    assert normalised(spelling) == as_stored(spelling) == form
    assert normalised(form) == form


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_invalid_address_is_refused(address):
    with pytest.raises(ValidationError) as refused:
        normalised(address)
    assert refused.value.code == "invalid"
    assert as_stored(address) == address.lower()


@pytest.mark.parametrize("name", INVISIBLE)
@pytest.mark.parametrize(
    "place",
    ["{}ada@example.com", "a{}da@example.com", "ada@{}example.com", "ada@exa{}mple.com", "ada@example.com{}"],
)
def test_invisible_characters_in_an_address_are_refused(name, place):
    with pytest.raises(ValidationError, match="Enter a valid e-mail address"):
        normalised(place.format(INVISIBLE[name]))


def test_an_overlong_address_is_refused_before_idna_reads_it():
    with pytest.raises(ValidationError) as refused:
        normalised("ada@" + "ä" * 1_000_000 + ".de")
    assert refused.value.code == "max_length"


def test_an_address_too_long_in_ascii_is_refused():
    labels = ".".join(["\xe4" + "a" * 50] * 4)
    with pytest.raises(ValidationError) as refused:
        normalised("x" * 40 + f"@{labels}.de")
    assert refused.value.code == "max_length"


# At every endpoint, in the admin and in commands


@pytest.mark.parametrize("spelling", [one for one, form in SPELLINGS.items() if form == "ada@example.com"])
def test_a_mailbox_signs_up_once_and_logs_in_by_every_spelling(api, user, stranger, spelling):
    fields = {"email": spelling, "password": PASSWORD}
    answer = api().post(f"{API}/signup", fields)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unique")
    assert User.objects.count() == 2
    assert api().post(f"{API}/login", fields).status_code == 200
    form = {"username": spelling, "password": PASSWORD}
    assert api().post(f"{API}/login", form, format="multipart").status_code == 415
    form_type = "application/x-www-form-urlencoded"
    body = f"username={spelling.replace('+', '%2B')}&password={PASSWORD}"
    assert api().generic("POST", f"{API}/login", body, form_type).status_code == 200


@pytest.mark.parametrize("path", ["password/reset", "verify-email"])
def test_spellings_of_one_mailbox_share_the_limit_of_three_mails_an_hour(api, user, path):
    spellings = [one for one, form in SPELLINGS.items() if form == "ada@example.com"]
    statuses = [api().post(f"{API}/{path}", {"email": spelling}).status_code for spelling in spellings]
    assert statuses == [204] * 3 + [429] * (len(spellings) - 3)
    assert list(Mail.objects.values_list("to", "state")) == [("ada@example.com", "waiting")] * 3


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("signup", {"password": PASSWORD}),
        ("login", {"password": PASSWORD}),
        ("password/reset", {}),
        ("verify-email", {}),
    ],
)
@pytest.mark.parametrize(
    "address", ["ada@exa\xadmple.com", "ada@example.com\u200b", '"ada"@example.com', "ada@[::1]"]
)
def test_an_invalid_address_is_refused_by_every_endpoint_and_mails_nothing(api, db, path, fields, address):
    answer = api().post(f"{API}/{path}", {"email": address, **fields})
    assert answer.status_code == 400
    assert [(error["attr"], error["code"]) for error in answer.json()["errors"]] == [("email", "invalid")]
    assert not User.objects.exists()
    assert not Mail.objects.exists()


def test_wrong_passwords_for_all_spellings_are_counted_together(api, user, stranger):
    spellings = [one for one, form in SPELLINGS.items() if form == "ada@example.com"] * 2
    statuses = [
        api().post(f"{API}/login", {"email": spelling, "password": "wrong"}).status_code
        for spelling in spellings
    ]
    assert statuses == [401] * 10 + [429] * (len(spellings) - 10)
    assert FailedLogin.objects.values("account").distinct().count() == 1
    assert api().post(f"{API}/login", {"email": stranger.email, "password": "wrong"}).status_code == 401


def test_the_admin_accepts_every_spelling_and_counts_them_together(client, user):
    User.objects.filter(pk=user.pk).update(is_staff=True)
    for spelling in (f"ada@{WIDE}.com", "ADA@example.com") * 5:
        assert client.post("/admin/login/", {"username": spelling, "password": "wrong"}).status_code == 200
    refused = client.post("/admin/login/", {"username": user.email, "password": PASSWORD})
    assert b"Too many wrong tries" in refused.content
    FailedLogin.objects.all().delete()
    form = {"username": f"ada@{WIDE}.com", "password": PASSWORD}
    assert client.post("/admin/login/", form).status_code == 302


@pytest.mark.parametrize("username", ["ada@exa\xadmple.com", '"ada"@example.com', "\0", "ada"])
def test_the_admin_refuses_a_log_in_with_an_invalid_address(client, user, username):
    assert client.post("/admin/login/", {"username": username, "password": PASSWORD}).status_code == 200


@pytest.fixture
def root(client, db):
    client.force_login(User.objects.create_superuser("root@example.com", PASSWORD))
    return client


SETTINGS = {"settings-TOTAL_FORMS": "0", "settings-INITIAL_FORMS": "0"}


def test_the_admin_saves_addresses_in_their_normalised_form(root, user):
    passwords = {
        "password1": "another-passphrase",
        "password2": "another-passphrase",
        "usable_password": "true",
    }
    form = {"email": f"bob@{WIDE}.com", "name": "Bob", **passwords, **SETTINGS}
    assert root.post("/admin/accounts/user/add/", form).status_code == 302
    bob = User.objects.get(email="bob@example.com")
    change = f"/admin/accounts/user/{bob.pk}/change/"
    for taken in (f"ada@{WIDE}.com", "ADA@example.com"):
        page = root.post(change, {"email": taken, "is_active": "on", **SETTINGS})
        assert (page.status_code, b"already exists" in page.content) == (200, True)
    page = root.post(change, {"email": "bob@exa\xadmple.com", "is_active": "on", **SETTINGS})
    assert (page.status_code, b"invisible character" in page.content) == (200, True)
    assert (
        root.post(change, {"email": "bob@\u4f8b\u3048.jp", "is_active": "on", **SETTINGS}).status_code == 302
    )
    bob.refresh_from_db()
    assert bob.email == "bob@xn--r8jz45g.jp"


def test_createsuperuser_saves_the_address_in_its_normalised_form(db, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, email=f"root@{WIDE}.com", verbosity=0)
    assert User.objects.get().email == "root@example.com"
    for taken, fault in (("root@example\u3002com", "already taken"), ("root@exa\xadmple.com", "invisible")):
        with pytest.raises(CommandError, match=fault):
            call_command("createsuperuser", interactive=False, email=taken, verbosity=0)
    assert User.objects.count() == 1


def test_saving_a_user_normalises_or_refuses_the_address(user):
    user.email = f"ada@{WIDE}.com"
    user.save()
    user.refresh_from_db()
    assert user.email == "ada@example.com"
    with pytest.raises(ValidationError):
        User.objects.create(email="ada@exa\xadmple.com")
