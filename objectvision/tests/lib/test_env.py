import pytest
from django.core.exceptions import ImproperlyConfigured

from objectvision.lib import env


@pytest.fixture(autouse=True)
def own_names(monkeypatch):
    """Keeps the variables of these tests out of the project's names."""
    monkeypatch.setattr(env, "names", set())


REFUSALS = [
    (lambda: env.flag("X", default=False), "maybe", "one of 1, true, yes, on, 0, false, no, off"),
    (lambda: env.integer("X", 1), "1.5", "a whole number from 0 to 2147483647"),
    (lambda: env.integer("X", 1), "2147483648", "a whole number from 0 to 2147483647"),
    (lambda: env.integer("X", 1, low=1, high=9), "0", "a whole number from 1 to 9"),
    (lambda: env.fraction("X", 0.5), "1.01", "a number from 0.0 to 1.0"),
    (lambda: env.fraction("X", 0.5), "nan", "a number from 0.0 to 1.0"),
    (lambda: env.choice("X", "a", ("a", "b")), "c", "one of a, b"),
]


@pytest.mark.parametrize(("read", "value", "expected"), REFUSALS)
def test_a_refusal_names_the_variable_its_value_and_the_valid_values(monkeypatch, read, value, expected):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        read()
    assert str(refusal.value) == f"X is {value!r}; it must be {expected}."


@pytest.mark.parametrize(
    "value", ["ftp://ada:s3cret@db", "http://", "s3cret", "http://ada:s3cret@db:port", "http://db:0"]
)
def test_a_refused_url_is_not_repeated_with_its_password(monkeypatch, value):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.url("X")
    assert str(refusal.value) == (
        "X is not valid; it must be a URL that begins with http:// or https:// and has a host."
    )
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize(
    ("read", "value", "parsed"),
    [
        (lambda: env.text("X"), " a b ", "a b"),
        (lambda: env.flag("X", default=False), "Yes", True),
        (lambda: env.flag("X", default=True), "OFF", False),
        (lambda: env.integer("X", 1), " 20 ", 20),
        (lambda: env.fraction("X", 0.5), "0.3", 0.3),
        (lambda: env.choice("X", "a", ("a", "b")), "b", "b"),
        (lambda: env.listing("X"), " a, ,b,", ["a", "b"]),
        (lambda: env.url("X"), "https://example.com:8443/x", "https://example.com:8443/x"),
        (lambda: env.url("X", schemes=("unix",)), "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_values_are_parsed_by_type(monkeypatch, read, value, parsed):
    monkeypatch.setenv("X", value)
    assert read() == parsed


@pytest.mark.parametrize("unset", [None, "", "  "])
def test_an_empty_variable_counts_as_unset(monkeypatch, unset):
    monkeypatch.delenv("X", raising=False)
    if unset is not None:
        monkeypatch.setenv("X", unset)
    assert env.text("X", "d") == "d"
    assert env.flag("X", default=True) is True
    assert env.integer("X", 7) == 7
    assert env.fraction("X", 0.7) == 0.7
    assert env.choice("X", "a", ("a", "b")) == "a"
    assert env.listing("X", ("a", "b")) == ["a", "b"]
    assert env.url("X", "http://localhost") == "http://localhost"


def test_every_requested_name_is_remembered():
    env.text("ONE")
    env.flag("TWO", default=True)
    env.listing("THREE")
    assert env.names == {"ONE", "TWO", "THREE"}
