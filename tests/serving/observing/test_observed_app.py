import asyncio
import http.client
import json
import socket
import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.observed_app import ObservedApp
from components.serving.observing.request_record import CLIENT_LEFT, current_request
from components.shared.records.serving_metrics import REQUEST_SECONDS
from tests.serving.conftest import counted

V1 = "/v1/models/reviews:predict"
V2 = "/v2/models/reviews/infer"


def answering(status=200, body=b"{}"):
    """An application that reads its request whole, answers, and remembers what it saw."""
    seen = {}

    async def app(scope, receive, send):
        seen["headers"] = dict(scope["headers"])
        seen["body"] = b""
        while True:
            message = await receive()
            seen["body"] += message.get("body", b"")
            if not message.get("more_body"):
                break
        seen["request"] = current_request.get()
        if seen["request"]:
            seen["request"].reviews = 3
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        await send({"type": "http.response.body", "body": body[1:]})

    app.seen = seen
    return app


def ask(app, path, *chunks, method="POST", headers=()):
    """Send a request; status, headers and body of the answer."""
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    scope["client"] = ("10.1.2.3", 4711)
    coming = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        if isinstance(chunk, bytes)
        else chunk
        for number, chunk in enumerate(chunks, 1)
    ]
    sent = []

    async def receive():
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    try:
        asyncio.run(app(scope, receive, send))
    finally:
        app.left = coming
    start = sent[0] if sent else {"status": None, "headers": []}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return start["status"], dict(start["headers"]), body


@pytest.mark.parametrize(
    ("path", "protocol"),
    [(V1, "v1"), (V2, "v2"), ("/v2/models/reviews/versions/7/infer", "v2")],
)
def test_an_inference_request_is_counted_timed_and_logged(
    metrics, log, stream, registry, path, protocol
):
    inner = answering()
    app = ObservedApp(inner, metrics, log, max_body_bytes=100)
    status, headers, body = ask(app, path, b'{"in', b'stances": []}', headers=[(b"a", b"b")])
    assert (status, body) == (200, b"{}")
    assert inner.seen["body"] == b'{"instances": []}'
    request_id = inner.seen["headers"][b"x-request-id"]
    assert headers[b"x-request-id"] == request_id
    assert len(request_id) == 32
    assert counted(registry, protocol, 200) == 1
    labels = {"model_name": "reviews", "model_version": "7"}
    assert 0 < registry.get_sample_value(f"{REQUEST_SECONDS}_sum", labels) < 1
    log.close()
    (line,) = stream.lines()
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "request_id": request_id.decode(),
        "method": "POST",
        "path": path,
        "status": 200,
        "reviews": 3,
        "queue_ms": None,
        "model_version": "7",
        "client": "10.1.2.3",
    }


def test_the_clients_id_is_kept(metrics, log, stream):
    inner = answering()
    app = ObservedApp(inner, metrics, log, max_body_bytes=100)
    _, headers, _ = ask(app, V2, b"", headers=[(b"x-request-id", b"order-4711")])
    assert headers[b"x-request-id"] == inner.seen["headers"][b"x-request-id"] == b"order-4711"
    assert inner.seen["request"].request_id == "order-4711"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_an_id_that_is_no_header_value_is_replaced_everywhere(given_id):
    inner = answering()
    app = ObservedApp(
        inner, ServingMetrics("reviews", "7", CollectorRegistry()), max_body_bytes=100
    )
    _, headers, _ = ask(app, V2, b"", headers=[(b"x-request-id", given_id)])
    said = headers[b"x-request-id"]
    plain = 0 < len(given_id) <= 128 and all(0x20 < byte < 0x7F for byte in given_id)
    assert (said == given_id) == plain
    assert said.decode("ascii").isprintable()
    assert inner.seen["headers"][b"x-request-id"] == said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/reviews/ready"),
        ("GET", "/v1/models/reviews"),
    ],
)
def test_probes_and_scrapes_are_not_seen(metrics, log, stream, registry, method, path):
    ask(ObservedApp(answering(), metrics, log, max_body_bytes=100), path, b"", method=method)
    log.close()
    assert stream.getvalue() == b""


def test_what_is_no_inference_is_logged_but_not_counted(metrics, log, stream, registry):
    app = ObservedApp(answering(404), metrics, log, max_body_bytes=100)
    ask(app, "/v2/models/reviews", b"", method="GET")
    ask(app, "/v1/models/reviews/nothing", b"", method="GET")
    ask(app, "/nothing", b"")
    log.close()
    assert [line["status"] for line in stream.lines()] == [404, 404, 404]
    assert counted(registry, "v1", 404) == counted(registry, "v2", 404) == 0


@pytest.mark.parametrize("status", [400, 404, 503])
def test_refusals_are_counted_by_their_status(metrics, registry, status):
    ask(ObservedApp(answering(status), metrics, max_body_bytes=100), V1, b"")
    assert counted(registry, "v1", status) == 1
    assert counted(registry, "v1", 200) == 0


@pytest.mark.parametrize("started", [False, True])
def test_an_application_that_fails_is_counted_as_500(metrics, registry, started):
    async def failing(scope, receive, send):
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ask(ObservedApp(failing, metrics, max_body_bytes=100), V2, b"")
    assert counted(registry, "v2", 500) == 1
    assert counted(registry, "v2", 200) == 0


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_a_client_that_leaves_is_not_the_servers_error(metrics, registry, chunked, answers):
    async def reading(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        if answers:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        raise ConnectionError

    header = (b"transfer-encoding", b"chunked") if chunked else (b"content-length", b"50")
    half = {"type": "http.request", "body": b"half", "more_body": True}
    app = ObservedApp(reading, metrics, max_body_bytes=100)
    try:
        ask(app, V2, half, headers=[header])
    except ConnectionError:
        assert not chunked
    assert counted(registry, "v2", CLIENT_LEFT) == 1
    assert counted(registry, "v2", 500) == 0


def test_a_body_of_the_limit_is_read(metrics):
    inner = answering()
    app = ObservedApp(inner, metrics, max_body_bytes=10)
    assert ask(app, V2, b"0123456789", headers=[(b"content-length", b"10")])[0] == 200
    assert inner.seen["body"] == b"0123456789"
    chunked = [(b"transfer-encoding", b"chunked")]
    assert ask(app, V2, b"01234", b"56789", headers=chunked)[0] == 200
    assert inner.seen["body"] == b"0123456789"


def test_a_body_over_the_limit_is_refused_in_words_and_never_reaches_the_model(
    metrics, registry, log, stream
):
    inner = answering()
    app = ObservedApp(inner, metrics, log, max_body_bytes=10)
    for path, headers in ((V1, [(b"content-length", b"11")]), (V2, [])):
        chunked = [] if headers else [(b"transfer-encoding", b"chunked")]
        status, said, body = ask(app, path, b"01234", b"567890", headers=headers + chunked)
        assert status == 400
        assert "11 bytes" in json.loads(body)["error"]
        assert said[b"content-type"] == b"application/json"
        assert int(said[b"content-length"]) == len(body)
        assert b"x-request-id" in said
        assert b"connection" not in said
    assert inner.seen == {}
    assert counted(registry, "v1", 400) == counted(registry, "v2", 400) == 1
    log.close()
    assert [line["status"] for line in stream.lines()] == [400, 400]


def test_a_body_without_end_is_cut_off(metrics):
    app = ObservedApp(answering(), metrics, max_body_bytes=10)
    endless = [b"0123456789"] * 50
    status, said, _ = ask(app, V2, *endless, headers=[(b"transfer-encoding", b"chunked")])
    assert status == 400
    assert said[b"connection"] == b"close"
    assert len(app.left) > 30


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=6), st.integers(0, 20))
def test_chunks_arrive_whole_or_not_at_all(chunks, limit):
    inner = answering()
    app = ObservedApp(
        inner, ServingMetrics("reviews", "7", CollectorRegistry()), max_body_bytes=limit
    )
    status, _, _ = ask(app, V2, *chunks, headers=[(b"transfer-encoding", b"chunked")])
    whole = b"".join(chunks)
    assert status == (200 if len(whole) <= limit else 400)
    assert inner.seen.get("body") == (whole if status == 200 else None)


def test_other_scopes_pass_through(metrics):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(ObservedApp(app, metrics, max_body_bytes=1)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


def test_requests_at_the_same_time_keep_their_own_ids(metrics):
    seen = []

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        seen.append((dict(scope["headers"])[b"x-request-id"], current_request.get().request_id))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    observed = ObservedApp(app, metrics, max_body_bytes=100)

    async def send(message):
        pass

    async def together():
        await asyncio.gather(
            *(
                observed({"type": "http", "method": "POST", "path": V2, "headers": []}, None, send)
                for _ in range(5)
            )
        )

    asyncio.run(together())
    assert all(header.decode() == own for header, own in seen)
    assert len({own for _, own in seen}) == 5


@pytest.fixture
def uvicorn_address(metrics, log):
    """The middleware around KServe's kind of application, behind the real HTTP server."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def infer(request):
        return PlainTextResponse(str(len(await request.body())))

    async def fail(request):
        raise RuntimeError("planted")

    inner = Starlette(
        routes=[
            Route(V2, infer, methods=["POST"]),
            Route(V1, fail, methods=["POST"]),
        ]
    )
    app = ObservedApp(inner, metrics, log, max_body_bytes=100_000)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)


def test_behind_uvicorn_the_reason_arrives_and_the_connection_stays(uvicorn_address, registry):
    def pieces(total):
        for _ in range(total // 1000):
            yield b"x" * 1000

    with closing(http.client.HTTPConnection(*uvicorn_address, timeout=10)) as connection:
        local = None
        for body, chunked, status in (
            (b"x" * 100_000, False, 200),
            (b"x" * 300_000, False, 400),
            (pieces(100_000), True, 200),
            (pieces(300_000), True, 400),
            (b"x", False, 200),
        ):
            connection.request(
                "POST", V2, body=body, encode_chunked=chunked, headers={"X-Request-Id": "mine"}
            )
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == status, said
            assert answer.getheader("x-request-id") == "mine"
            if status == 400:
                assert "send fewer reviews" in json.loads(said)["error"]
            local = local or connection.sock.getsockname()
            assert connection.sock.getsockname() == local
    assert counted(registry, "v2", 200) == 3
    assert counted(registry, "v2", 400) == 2


def test_behind_uvicorn_an_error_page_has_its_id_too(uvicorn_address, registry, log, stream):
    with closing(http.client.HTTPConnection(*uvicorn_address, timeout=10)) as connection:
        connection.request("POST", V1, body=b"{}")
        answer = connection.getresponse()
        answer.read()
    assert answer.status == 500
    assert counted(registry, "v1", 500) == 1
    log.close()
    (line,) = stream.lines()
    assert line["request_id"] == answer.getheader("x-request-id")
    assert line["client"] == "127.0.0.1"
