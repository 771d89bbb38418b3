"""The bounds of a connection, on real sockets; the application only echoes bodies."""

import json
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from components.serving.server.connection import BoundedConnection

SHORT = 0.2


class Impatient(BoundedConnection):
    head_seconds = body_seconds = take_seconds = linger_seconds = SHORT
    body_bytes = 1000


seen = []


async def echo(scope, receive, send):
    if scope["type"] != "http":
        return
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            seen.append("left")
            return
        body += message["body"]
    size = int(dict(scope["headers"]).get(b"x-answer-bytes", len(body)))
    head = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body or b"x" * size})
    seen.append("answered")


@contextmanager
def listening(protocol):
    seen.clear()
    with socket.create_server(("127.0.0.1", 0)) as opened:
        options = {"log_config": None, "ws": "none", "timeout_keep_alive": SHORT}
        server = uvicorn.Server(uvicorn.Config(echo, http=protocol, lifespan="off", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        yield opened.getsockname(), server
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def patient():
    with listening(BoundedConnection) as (address, _):
        yield address


@pytest.fixture(scope="module")
def impatient():
    with listening(Impatient) as (address, _):
        yield address


def sent(address, *pieces):
    """All that the server answers until it ends the connection, which it has to."""
    with socket.create_connection(address, timeout=10) as client:
        for piece in pieces:
            client.sendall(piece)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def refused(answer):
    """Status and reason of an answer that ends a connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-type: application/json" in head
    return int(head.split()[1]), json.loads(body)["error"]


START = b"POST / HTTP/1.1\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
KIB = 1024
TOO_LARGE = {
    "headers in number": (431, [START, b"A: b\r\n" * 101, b"\r\n"]),
    "headers in size": (431, [START, *[b"A: " + b"b" * 8000 + b"\r\n"] * 8, b"\r\n"]),
    "a header without end": (431, [START, b"A: ", *[b"b" * KIB] * 61]),
    "a name without end": (431, [START, *[b"b" * KIB] * 61]),
    "a URL": (414, [b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n\r\n"]),
    "a URL without end": (414, [b"GET /", *[b"a" * KIB] * 9]),
    "trailers": (431, [CHUNKED, b"0\r\n", b"A: b\r\n" * 101]),
    "a trailer without end": (431, [CHUNKED, b"0\r\nA: ", *[b"b" * KIB] * 400]),
    "a chunk's extension": (431, [CHUNKED, b"2;", *[b"b" * KIB] * 400]),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_head_has_a_size(patient, name):
    expected, pieces = TOO_LARGE[name]
    status, reason = refused(sent(patient, *pieces))
    assert status == expected
    assert "URL is longer than 8192" in reason or "100 headers, 61440 bytes" in reason


def test_a_head_within_the_bounds_is_read(patient):
    head = START + b"A: " + b"b" * 50 * KIB + b"\r\n" + b"C: d\r\n" * 97
    answer = sent(patient, head, b"Content-Length: 2\r\n\r\nok")
    assert answer.endswith(b"\r\n\r\nok")
    large = b"Content-Length: 1000000\r\n\r\n" + b"x" * 10**6
    assert len(sent(patient, START + large)) > 10**6


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\x16\x03\x01\x02\x00\x01\x00\x01"],  # TLS
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nno header\r\n\r\n"],
        [b"GET /\xff HTTP/1.1\r\n\r\n"],
        [b"CONNECT a:1 HTTP/1.1\r\n\r\n"],
        [START, b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
        [START, b"Content-Length: -1\r\n\r\n"],
        [CHUNKED, b"x\r\n"],
    ],
)
def test_what_is_no_http_is_refused_in_words(patient, pieces):
    status, reason = refused(sent(patient, *pieces))
    assert status == 400
    assert reason.startswith("this is not an HTTP/1.1 request: ")
    assert len(reason) > 40


SLOW = {
    "nothing": (None, []),
    "blank lines": (None, [b"\r\n"]),
    "half a head": (408, [START, b"A: b\r\n"]),
    "no body": (408, [START, b"Content-Length: 5000\r\n\r\n"]),
    "little of a body": (408, [START, b"Content-Length: 5000\r\n\r\n", b"x" * 999]),
    "half of chunks": (408, [CHUNKED]),
    "nothing after an answer": (200, [START, b"Content-Length: 2\r\n\r\nok"]),
    "a blank line after an answer": (200, [START, b"Content-Length: 2\r\n\r\nok\r\n"]),
}


@pytest.mark.parametrize("name", SLOW)
def test_who_sends_too_slowly_or_nothing_is_let_go(impatient, name):
    status, pieces = SLOW[name]
    answer = sent(impatient, *pieces)
    assert (int(answer.split()[1]) if answer else None) == status
    if status == 408:
        assert "0.2 s" in refused(answer)[1]
        assert answer.count(b"HTTP/1.1") == 1


def test_a_body_at_a_steady_pace_may_take_its_time(impatient):
    pause = threading.Event()
    with socket.create_connection(impatient, timeout=10) as client:
        client.sendall(START + b"Content-Length: 6000\r\n\r\n")
        for _ in range(6):
            client.sendall(b"x" * 1000)
            pause.wait(SHORT / 2)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_who_reads_no_answer_is_cut_off(impatient):
    ask = b"GET / HTTP/1.1\r\nX-Answer-Bytes: 50000000\r\n\r\n"
    with socket.create_connection(impatient, timeout=10) as client:
        client.sendall(ask)
        with pytest.raises(ConnectionError):
            send_until_it_fails(client)


def send_until_it_fails(client):
    while True:
        client.sendall(b"\r\n")
        threading.Event().wait(SHORT)


@pytest.mark.parametrize("fault", [b"no header\r\n\r\n", b"A: b\r\n" * 101, b"A: "])
def test_a_later_requests_fault_costs_nobody_an_answer(impatient, fault):
    answer = sent(impatient, START + b"Content-Length: 2\r\n\r\nok" + START + fault)
    first, _, second = answer.partition(b"ok")
    assert first.startswith(b"HTTP/1.1 200")
    assert b"200" not in second


@pytest.mark.parametrize("length", [b"Content-Length: 2\r\n\r\nok", b"\r\n"])
def test_the_offer_of_another_protocol_is_passed_over(patient, length):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
    again = START + b"Content-Length: 3\r\n\r\nyes"
    answer = sent(patient, START + offer + length[:-1], length[-1:], again)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert (b"ok" in answer) == (b"ok" in length)
    assert answer.endswith(b"yes")


def test_nothing_of_all_this_stays_behind():
    with listening(Impatient) as (address, server):
        for _, pieces in [*TOO_LARGE.values(), *SLOW.values()]:
            sent(address, *pieces)
        assert (server.server_state.connections, server.server_state.tasks) == (set(), set())
    assert seen.count("left") >= 4
