import json

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Session, User
from testing.api import faults

URL = "/api/v1/auth/signup"
PASSWORD = "a-long-passphrase"


def sign_up(api, **fields):
    return api().post(URL, {"email": "ada@example.com", "password": PASSWORD, **fields})


def test_signing_up_makes_an_account_and_shows_it_without_the_password(api, db):
    response = sign_up(api, name="Ada")
    user = User.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "id": str(user.pk),
        "email": "ada@example.com",
        "name": "Ada",
        "is_staff": False,
        "email_verified_at": None,
        "created_at": user.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": user.updated_at.isoformat().replace("+00:00", "Z"),
    }
    assert user.pk.version == 7
    assert not Session.objects.exists()


def test_the_password_is_stored_as_an_argon2id_hash(api, db):
    sign_up(api)
    user = User.objects.get()
    assert user.password.startswith("argon2$argon2id$")
    assert PASSWORD not in user.password
    assert user.check_password(PASSWORD)


def test_the_address_is_stored_in_lower_case(api, db):
    assert sign_up(api, email="Ada.Lovelace@Example.COM").json()["email"] == "ada.lovelace@example.com"
    assert User.objects.get().email == "ada.lovelace@example.com"


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com", "ada@EXAMPLE.com"])
def test_an_address_signs_up_once_regardless_of_case(api, user, email):
    response = sign_up(api, email=email, name="Another")
    assert faults(response) == [("unique", "email")]
    assert User.objects.values_list("name", flat=True).get() == "Ada"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short-1", "password_too_short"),
        ("password1", "password_too_common"),
        ("8273645190", "password_entirely_numeric"),
        ("ada-example", "password_too_similar"),
        ("x" * 129, "max_length"),
        ("", "blank"),
        (None, "null"),
    ],
)
def test_a_weak_password_is_refused_and_not_repeated(api, db, password, code):
    response = sign_up(api, email="ada-example@example.com", password=password)
    assert (code, "password") in faults(response)
    assert {field for _, field in faults(response)} == {"password"}
    if password:
        assert password not in response.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "@example.com", "ada@example", "a b@example.com", "a" * 250 + "@a.de"]
)
def test_an_invalid_address_is_refused(api, db, email):
    assert {field for _, field in faults(sign_up(api, email=email))} == {"email"}
    assert not User.objects.exists()


def test_missing_fields_are_named(api, db):
    assert set(faults(api().post(URL, {}))) == {("required", "email"), ("required", "password")}


@pytest.mark.parametrize("field", ["email", "name", "password"])
@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800"])
def test_characters_that_the_database_cannot_store_are_refused(api, db, field, value):
    values = {"email": f"{value}@example.com", "name": value, "password": PASSWORD + value}
    body = '{"email": "ada@example.com", "password": "a-long-passphrase", "%s": %s}'
    response = api().generic(
        "POST", URL, body % (field, json.dumps(values[field])), content_type="application/json"
    )
    assert {attr for _, attr in faults(response)} == {field}


def test_a_sign_up_cannot_set_rights(api, db):
    rights = {"is_staff": True, "is_superuser": True, "email_verified_at": "2020-01-01T00:00:00Z"}
    assert faults(sign_up(api, **rights)) == [("unknown_field", name) for name in rights]
    assert not User.objects.exists()


@pytest.mark.postgresql
def test_twenty_concurrent_sign_ups_with_one_address_make_one_account(api, at_once):
    answers = at_once(*[lambda: sign_up(api), lambda: sign_up(api, email="ADA@example.com")] * 10)
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 19
    assert User.objects.count() == 1


def test_the_database_refuses_addresses_that_are_not_in_lower_case(user):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=user.pk).update(email="Ada@example.com")


def test_create_superuser_makes_staff(db):
    admin = User.objects.create_superuser("Root@example.com", PASSWORD)
    assert (admin.email, admin.is_staff, admin.is_superuser) == ("root@example.com", True, True)
    assert User.objects.get_by_natural_key("ROOT@example.com") == admin


@pytest.mark.parametrize("path", ["signup", "login", "password/reset", "verify-email"])
def test_an_address_that_is_too_long_in_lower_case_is_refused(api, db, path):
    host = "@" + ".".join(["x" * 60] * 3) + ".com"
    client = api()
    client.raise_request_exception = False
    address = "\u0130" * (254 - len(host)) + host
    response = client.post(f"/api/v1/auth/{path}", {"email": address, "password": PASSWORD})
    assert "email" in {field for _, field in faults(response)}
