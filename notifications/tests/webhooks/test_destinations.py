"""Which URLs and addresses a webhook may have. No test connects to any of them."""

import socket
import threading
import time

import pytest
from django.db import connection

from notifications.webhooks.destinations import (
    Destination,
    UrlError,
    check_destination,
    is_allowed,
    parse_url,
    resolve,
)
from testing.waiting import until

PUBLIC = "93.184.215.14"


def refusal(url):
    with pytest.raises(UrlError) as caught:
        parse_url(url)
    return caught.value


@pytest.fixture
def names(monkeypatch):
    """The addresses of names, instead of what the network says. Addresses are read as always."""
    known = {}
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in known:
            return real(host, port, *args, flags=socket.AI_NUMERICHOST, **kwargs)
        return [
            (family, kind, proto, name, place)
            for address in known[host]
            for family, kind, proto, name, place in real(address, port, *args, **kwargs)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target", "header"),
    [
        ("https://hooks.example.com", "https", "hooks.example.com", 443, "/", "hooks.example.com"),
        ("http://hooks.example.com/", "http", "hooks.example.com", 80, "/", "hooks.example.com"),
        (
            "HTTPS://Hooks.Example.COM/In?A=B",
            "https",
            "hooks.example.com",
            443,
            "/In?A=B",
            "hooks.example.com",
        ),
        ("https://h.example:443/", "https", "h.example", 443, "/", "h.example"),
        ("https://h.example:80/", "https", "h.example", 80, "/", "h.example:80"),
        ("http://h.example:00080/", "http", "h.example", 80, "/", "h.example"),
        ("http://h.example:65535/", "http", "h.example", 65535, "/", "h.example:65535"),
        ("https://h.example?a=b", "https", "h.example", 443, "/?a=b", "h.example"),
        ("https://h.example/?", "https", "h.example", 443, "/?", "h.example"),
        ("https://h.example/a//b/../c", "https", "h.example", 443, "/a//b/../c", "h.example"),
        ("https://h.example/a%2Fb%00?c=%C3%A9", "https", "h.example", 443, "/a%2Fb%00?c=%C3%A9", "h.example"),
        ("https://h.example/é?ü=ß", "https", "h.example", 443, "/%C3%A9?%C3%BC=%C3%9F", "h.example"),
        ('https://h.example/<">{|}^`', "https", "h.example", 443, "/%3C%22%3E%7B%7C%7D%5E%60", "h.example"),
        ("https://h.example/a@b:c?d=e@f", "https", "h.example", 443, "/a@b:c?d=e@f", "h.example"),
        ("https://h.example./", "https", "h.example", 443, "/", "h.example"),
        ("https://my_service:8443/", "https", "my_service", 8443, "/", "my_service:8443"),
        ("https://bücher.example/", "https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("https://BÜCHER。example/", "https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        (
            "https://xn--bcher-kva.example/",
            "https",
            "xn--bcher-kva.example",
            443,
            "/",
            "xn--bcher-kva.example",
        ),
        ("https://faß.example/", "https", "xn--fa-hia.example", 443, "/", "xn--fa-hia.example"),
        ("http://[2001:DB8::1]/", "http", "2001:db8::1", 80, "/", "[2001:db8::1]"),
        ("http://[0:0::1]:8080/", "http", "::1", 8080, "/", "[::1]:8080"),
        ("http://127.1:8080/", "http", "127.1", 8080, "/", "127.1:8080"),
    ],
)
def test_a_url_is_taken_apart_as_it_will_be_sent(url, scheme, host, port, target, header):
    destination = parse_url(url)
    assert destination == Destination(scheme, host, port, target)
    assert destination.host_header == header


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "/in",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http\u017f://hooks.example.com/",
        "https:/hooks.example.com/",
        "https:hooks.example.com/",
        "javascript:alert(1)//https://hooks.example.com/",
    ],
)
def test_only_http_and_https_are_spoken(url):
    error = refusal(url)
    assert (error.message, error.code) == (
        "The URL of a webhook begins with https:// or http://.",
        "invalid",
    )


@pytest.mark.parametrize("letter", ["\t", "\n", "\r", " ", "\0", "\x1f", "\x7f", "\x85", "\xa0", "\\"])
@pytest.mark.parametrize(
    "url", ["{}http://h.example/", "ht{}tp://h.example/", "http://h.ex{}ample/", "http://h.example/{}"]
)
def test_spaces_control_characters_and_backslashes_are_refused(url, letter):
    assert refusal(url.format(letter)).message == (
        "The URL of a webhook has no spaces, invisible characters or backslashes."
    )


@pytest.mark.parametrize("letter", [chr(0xD800), "\u200b", "\u202e", "\u2028", "\u3000", "\xad", "\ufeff"])
@pytest.mark.parametrize("url", ["http://h.ex{}ample/", "http://h.example/{}", "http://h.example/?{}"])
def test_lone_surrogates_and_what_is_not_seen_are_refused(url, letter):
    assert refusal(url.format(letter)).code == "invalid"


@pytest.mark.parametrize(
    "url",
    [
        "http://user@h.example/",
        "http://user:secret@h.example/",
        "http://@h.example/",
        "http://h.example@127.0.0.1/",
        "http://127.0.0.1:80@h.example/",
        "http://a@b@h.example/",
    ],
)
def test_a_user_name_or_password_is_refused(url):
    assert refusal(url).message == "The URL of a webhook has no user name or password."


@pytest.mark.parametrize("url", ["http://", "http:///x", "http://?x", "https:////h.example/"])
def test_a_host_is_needed(url):
    assert refusal(url).message.startswith("The URL of a webhook has a host")


@pytest.mark.parametrize(
    "url", ["http://h.example/#part", "http://h.example#", "http://127.0.0.1#@h.example/"]
)
def test_a_fragment_is_refused(url):
    assert "no fragment" in refusal(url).message


@pytest.mark.parametrize(
    "port", ["0", "65536", "99999", "100000", "-1", "+80", "8_0", "80a", "\uff18\uff10", "٨٠", "80:80", ""]
)
def test_ports_are_from_1_to_65535(port):
    assert "1 to 65535" in refusal(f"http://h.example:{port}/").message


@pytest.mark.parametrize(
    "host",
    [
        "[::1",
        "::1]",
        "[]",
        "[::1]x",
        "x[::1]",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[::1%]",
        "[v1.x]",
        "[127.0.0.1]",
        "[::ffff:127.0.0.1.1]",
        "[1:2:3:4:5:6:7:8:9]",
        "::1",
        ".",
        "..",
        ".h.example",
        "h..example",
        "h.example..",
        "-h.example",
        "h-.example",
        "h,example",
        "h.ex%61mple",
        "127%2e0.0.1",
        "h.example;127.0.0.1",
        "h.example&",
        "h*.example",
        "h'\"$(id)",
        "xn--",
        "xn--a.example",
        "xn--99999999.example",
        "℀.example",
        "a\u2044b.example",
        "❤.example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "é" * 254,
    ],
)
def test_what_is_no_host_is_refused(host):
    error = refusal(f"http://{host}/")
    assert "not a" in error.message or "not valid" in error.message
    assert error.code == "invalid"


def test_a_url_has_at_most_2000_characters():
    longest = "https://h.example/".ljust(2000, "x")
    assert parse_url(longest).target == longest.removeprefix("https://h.example")
    error = refusal(longest + "x")
    assert (error.message, error.code) == ("The URL of a webhook has at most 2,000 characters.", "max_length")


def test_a_host_of_253_characters_is_one():
    host = ".".join(["a" * 62] * 4) + ".b"
    assert len(host) == 253
    assert parse_url(f"http://{host}/").host == host
    assert "not a valid name" in refusal(f"http://{host}b/").message


def test_refusing_long_names_takes_no_time():
    begun = time.monotonic()
    for host in ["é" * 1900, "xn--" + "a" * 1900, "é." * 900, "[" + ":" * 1900 + "]", "a-" * 900]:
        refusal(f"http://{host}/")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0x7f000001", "017700000001",
        "0x7f.1", "0177.1", "①②⑦.0.0.1", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "127｡0\uff0e0.1",
        "127.0.0.1.", "0", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[0:0:0:0:0:ffff:127.0.0.1]", "10.0.0.1",
        "169.254.169.254", "2852039166", "[fd00:ec2::254]",
    ],
)  # fmt: skip  # a list to read at a glance
def test_every_spelling_of_an_address_inside_is_refused(names, host):
    with pytest.raises(UrlError) as caught:
        check_destination(f"http://{host}/")
    assert caught.value.code == "address_not_allowed"
    assert caught.value.message == "This address is not allowed: webhooks go to public addresses only."


REFUSED = [
    # IPv4: both ends of each network
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200",
    "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.0.0",
    "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8",
    "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.192", "192.0.0.255", "192.0.2.0", "192.0.2.255",
    "192.31.196.1", "192.52.193.1", "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255",
    "192.175.48.1", "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255", "203.0.113.0",
    "203.0.113.255", "224.0.0.0", "224.0.0.1", "232.1.2.3", "239.255.255.255", "240.0.0.0",
    "255.255.255.254", "255.255.255.255",
    # IPv6 with an IPv4 address in it, also a public one
    "::127.0.0.1", "::93.184.215.14", "::ffff:127.0.0.1", "::ffff:93.184.215.14", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::93.184.215.14", "64:ff9b:1::1",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:7f00:1::", "2002:5db8:d70e::1",
    "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:0:5ef5:79fd:0:1:a247:28f1",
    # IPv6: everything else
    "::", "::1", "::2", "100::", "100::1", "100:0:0:1::1", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:1::1", "2001:1::2", "2001:1::3", "2001:2::", "2001:2:0:ffff::", "2001:3::1", "2001:4:112::1",
    "2001:5::1", "2001:10::1", "2001:1f::1", "2001:20::1", "2001:2f::1", "2001:30::1", "2001:3f::1",
    "2001:1ff:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::1",
    "3ffe::1", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5f00::", "5f00:ffff::1",
    "8000::1", "d000::1", "fbff::", "fc00::", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fdff:ffff::",
    "fe80::", "fe80::1", "febf::1", "fec0::1", "feff::1", "ff00::", "ff02::1", "ff0e::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    # with a zone, and what is none
    "fe80::1%eth0", "fe80::1%1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c%eth0", "2606:2800::1%",
    "::1%lo", "", "example.com", "93.184.215", "93.184.215.14/32", "093.184.215.14", "1572395790",
    " 93.184.215.14",
]  # fmt: skip  # a list to read at a glance
ALLOWED = [
    "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255",
    "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
    "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
    "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
    "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "2000::1",
    "2001:200::", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::", "2003::1", "2400:cb00::1",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2620:4f:7fff::1", "2620:4f:8001::1", "2a00:1450::1",
    "3ffd::1", "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip  # as above


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_inside_reserved_and_translated_are_refused(address):
    assert is_allowed(address) is False


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address):
    assert is_allowed(address) is True


def test_a_public_address_may_be_a_destination(names):
    names["hooks.example.com"] = [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
    assert check_destination("https://hooks.example.com/in") is None
    assert check_destination(f"https://{PUBLIC}/in") is None


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_name_with_one_address_inside_is_refused(names, inside, place):
    names["hooks.example.com"] = [PUBLIC, "8.8.8.8"]
    names["hooks.example.com"].insert(place, inside)
    with pytest.raises(UrlError) as caught:
        check_destination("https://hooks.example.com/in")
    assert caught.value.code == "address_not_allowed"


def test_localhost_is_refused():
    with pytest.raises(UrlError) as caught:
        check_destination("http://localhost:8000/")
    assert caught.value.code == "address_not_allowed"


def test_a_name_that_does_not_resolve_is_accepted(names):
    assert check_destination("https://not-yet.example.com/") is None


def test_what_is_no_url_is_refused_before_it_is_looked_up(names):
    with pytest.raises(UrlError) as caught:
        check_destination("ftp://127.0.0.1/")
    assert caught.value.code == "invalid"


def test_private_addresses_are_accepted_where_the_operator_allows_them(names, settings):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    names["receiver"] = ["10.1.2.3"]
    assert check_destination("http://receiver:8080/") is None
    assert check_destination("http://[::1]/") is None


@pytest.mark.parametrize(
    "url", ["ftp://10.1.2.3/", "http://user@10.1.2.3/", "http://10.1.2.3:0/", "http://10.1.2.3/ "]
)
def test_everything_else_is_refused_there_too(settings, url):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    with pytest.raises(UrlError):
        check_destination(url)


def test_all_addresses_of_a_name_are_found_each_once(names):
    names["hooks.example.com"] = ["10.0.0.2", "10.0.0.1", "::1", "10.0.0.2"]
    assert resolve("hooks.example.com", 80, 3) == ["10.0.0.2", "10.0.0.1", "::1"]


def test_a_name_without_addresses_is_an_error(names):
    with pytest.raises(socket.gaierror):
        resolve("not-yet.example.com", 80, 3)


@pytest.fixture
def hanging(monkeypatch):
    """Name servers that do not answer before the test ends."""
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(30) and [])
    yield
    end.set()
    until(lambda: "webhook lookup" not in {thread.name for thread in threading.enumerate()})


def test_a_lookup_takes_no_longer_than_it_may(hanging):
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        resolve("slow.example.com", 80, 0.2)
    assert 0.2 <= time.monotonic() - begun < 2


def test_a_name_that_does_not_resolve_in_time_is_accepted(hanging):
    begun = time.monotonic()
    assert check_destination("https://slow.example.com/", seconds=0.2) is None
    assert time.monotonic() - begun < 2


def test_lookups_that_hang_cost_a_bounded_number_of_threads(hanging):
    for _ in range(70):
        check_destination("https://slow.example.com/", seconds=0.001)
    hanging_now = [thread for thread in threading.enumerate() if thread.name == "webhook lookup"]
    assert 1 <= len(hanging_now) <= 64


def test_checks_that_hang_do_not_delay_deliveries(hanging, monkeypatch):
    for _ in range(70):
        check_destination("https://slow.example.com/", seconds=0.001)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (PUBLIC, 80))])
    assert resolve("hooks.example.com", 80, 1) == [PUBLIC]


def test_checks_go_on_once_those_that_hung_have_ended(names, monkeypatch):
    end = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(30) and [])
        for _ in range(70):
            check_destination("https://slow.example.com/", seconds=0.001)
        end.set()
        until(lambda: "webhook lookup" not in {thread.name for thread in threading.enumerate()})
    with pytest.raises(UrlError):
        check_destination("https://10.0.0.1/")


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_during_a_lookup(monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    held = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: held.append(opened.connection) or [])
    opened = connection._connections[connection._alias]
    check_destination("https://hooks.example.com/")
    assert held == [None]
