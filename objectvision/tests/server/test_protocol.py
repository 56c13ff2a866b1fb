"""How the server's protocol reads requests."""

import random

import h11
from h11._receivebuffer import ReceiveBuffer

from objectvision.server.protocol import Connection

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def events_of(connection, pieces):
    """What the connection makes of these bytes, as (kind, bytes) with neighbouring data joined."""
    found = []
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):  # no hash
            data = bytes(event.data) if isinstance(event, h11.Data) else b""
            if found and data and found[-1][1]:
                found[-1] = (h11.Data, found[-1][1] + data)
            else:
                found.append((type(event), data))
    return found, connection.trailing_data


def test_a_block_of_a_body_is_handed_on_without_a_copy():
    connection, block = Connection(), b"x" * 1000
    connection.receive_data(HEAD % 2000)
    assert isinstance(connection.next_event(), h11.Request)
    for _ in range(2):
        connection.receive_data(block)
        assert connection.next_event().data is block
    assert isinstance(connection.next_event(), h11.EndOfMessage)


def test_requests_are_read_as_by_h11_wherever_their_bytes_are_cut():
    body = bytes(range(256)) * 10
    chunked = b"a00\r\n" + body + b"\r\n3;x=y\r\nend\r\n0\r\n\r\n"
    dice = random.Random(0)
    for sent in (HEAD % len(body) + body + b"GET / HTTP/1.1\r\n", CHUNKED + chunked + b"GET"):
        for _ in range(200):
            cuts = sorted(dice.choices(range(len(sent)), k=dice.randrange(12)))
            pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True) if a < b]
            plain = h11.Connection(h11.SERVER)
            assert isinstance(plain._receive_buffer, ReceiveBuffer)
            assert events_of(Connection(), pieces) == events_of(plain, pieces)
