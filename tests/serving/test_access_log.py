import asyncio
import http.client
import io
import json
import socket
import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from components.contracts.serving_metrics import REQUEST_SECONDS, REQUESTS
from components.serving import access_log
from components.serving.access_log import (
    CLIENT_LEFT,
    REQUEST_ID,
    AccessLog,
    ObservedApp,
    ObservedCalls,
    Request,
    current_request,
)
from components.serving.metrics import ServingMetrics

V1 = "/v1/models/reviews:predict"
V2 = "/v2/models/reviews/infer"


class Kept(io.BytesIO):
    def lines(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream():
    return Kept()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def log(stream):
    log = AccessLog("7", stream, flush_seconds=0.0)
    yield log
    log.close()


@pytest.fixture
def metrics(registry):
    return ServingMetrics("reviews", "7", registry)


def counted(registry, protocol, code):
    labels = {"model_name": "reviews", "model_version": "7", "protocol": protocol}
    return registry.get_sample_value(REQUESTS, {**labels, "code": str(code)}) or 0


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


def finished(**changes):
    values = {"status": 200, "seconds": 0.0123, "reviews": 1, "queue_seconds": 0.004, **changes}
    return Request("id-1", "POST", V2, None, 1_700_000_000.25, **values)


def test_texts_are_logged_only_where_asked():
    for asked in (False, True):
        stream = Kept()
        log = AccessLog("7", stream, with_texts=asked)
        log.write(finished(texts=["lovely dress"]))
        log.close()
        (line,) = stream.lines()
        assert line.get("texts") == (["lovely dress"] if asked else None)
        assert (b"lovely" in stream.getvalue()) == asked
        assert line["time"] == "2023-11-14T22:13:20.250+00:00"
        assert (line["ms"], line["queue_ms"]) == (12.3, 4.0)


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=20))
def test_any_path_and_text_is_one_line_of_json(path, text):
    stream = Kept()
    log = AccessLog("7", stream, with_texts=True, flush_seconds=0.0)
    request = finished(texts=[text])
    request.path = path + "\n\ud800" + "x" * 256
    log.write(request)
    log.close()
    assert stream.getvalue().count(b"\n") == 1
    (line,) = stream.lines()
    assert line["path"] == request.path[:256]
    assert line["texts"] == [text]


class Blocked(Kept):
    """A stream that lets nothing through until it is opened."""

    def __init__(self):
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def write(self, content):
        self.entered.set()
        assert self.opened.wait(10)
        return super().write(content)


def test_a_slow_stream_costs_lines_but_no_time():
    stream = Blocked()
    log = AccessLog("7", stream, max_pending=3, flush_seconds=0.0)
    log.write(finished())
    assert stream.entered.wait(10)
    for _ in range(10):
        log.write(finished())
    stream.opened.set()
    log.close(timeout=10)
    lines = stream.lines()
    assert sum("status" in line for line in lines) == 4
    assert sum(line.get("lines_dropped", 0) for line in lines) == 7


def test_a_broken_stream_is_told_once_and_stops_nothing(caplog):
    class Broken(Kept):
        def write(self, content):
            tried.release()
            raise BrokenPipeError("gone")

    tried = threading.Semaphore(0)
    log = AccessLog("7", Broken(), flush_seconds=0.0)
    for _ in range(3):
        log.write(finished())
        assert tried.acquire(timeout=10)
    log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the access log cannot be written: gone"
    ]


def test_standard_output_is_the_default(capfdbinary):
    log = AccessLog("7")
    log.write(finished())
    log.close()
    assert json.loads(capfdbinary.readouterr().out)["request_id"] == "id-1"


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


@pytest.fixture
def call(metrics, log):
    """Calls a method of KServe's gRPC servicer, around a given model, as a client does."""
    import grpc
    from kserve import Model, ModelRepository
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
    from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
    from kserve.protocol.grpc.servicer import InferenceServicer
    from kserve.protocol.infer_type import InferResponse
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension

    def call(failure=None, *, method="ModelInfer", metadata=(), timeout=None, wait=False):
        seen = {}

        class Fake(Model):
            async def predict(self, payload, headers=None):
                seen["headers"] = headers
                seen["request"] = current_request.get()
                if wait:
                    await asyncio.sleep(30)
                if failure:
                    raise failure
                return InferResponse("1", self.name, [])

        async def go():
            model = Fake("reviews")
            model.load()
            repository = ModelRepository()
            repository.update(model, "reviews")
            server = grpc.aio.server(
                interceptors=(ObservedCalls(metrics, log), ExceptionToStatusInterceptor())
            )
            services.add_GRPCInferenceServiceServicer_to_server(
                InferenceServicer(DataPlane(repository), ModelRepositoryExtension(repository)),
                server,
            )
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    stub = services.GRPCInferenceServiceStub(channel)
                    message = {
                        "ModelInfer": pb.ModelInferRequest(model_name="reviews"),
                        "ModelReady": pb.ModelReadyRequest(name="reviews"),
                        "ModelMetadata": pb.ModelMetadataRequest(name="reviews"),
                    }[method]
                    answer = getattr(stub, method)(message, metadata=metadata, timeout=timeout)
                    code = await answer.code()
                    trailing = dict(await answer.trailing_metadata() or ())
            finally:
                # A call that the client has given up ends before the server does.
                await server.stop(5)
            return code.name, trailing.get(REQUEST_ID), seen

        return asyncio.run(go())

    return call


def test_grpc_is_counted_and_logged_in_the_same_form(call, registry, log, stream):
    code, request_id, seen = call(metadata=[(REQUEST_ID, "mine")])
    assert (code, request_id) == ("OK", "mine")
    assert seen["headers"][REQUEST_ID] == "mine"
    assert seen["request"].request_id == "mine"
    assert counted(registry, "grpc", 200) == 1
    log.close()
    (line,) = stream.lines()
    assert line["method"] == "gRPC"
    assert line["path"] == "/inference.GRPCInferenceService/ModelInfer"
    assert (line["status"], line["request_id"], line["client"]) == (200, "mine", "127.0.0.1")


def test_the_model_behind_grpc_sees_the_id_that_is_made(call):
    _, request_id, seen = call()
    assert len(request_id) == 32
    assert seen["headers"][REQUEST_ID] == seen["request"].request_id == request_id


def test_grpc_failures_are_counted_as_rest_would_call_them(call, registry):
    from grpc_interceptor.exceptions import ResourceExhausted, Unavailable
    from kserve.errors import InvalidInput, ModelNotFound

    for failure, grpc_code, status in (
        (InvalidInput("no"), "INVALID_ARGUMENT", 400),
        (ModelNotFound("no"), "NOT_FOUND", 404),
        (Unavailable("full"), "UNAVAILABLE", 503),
        (ResourceExhausted("full"), "RESOURCE_EXHAUSTED", 503),
        (RuntimeError("no"), "INTERNAL", 500),
    ):
        before = counted(registry, "grpc", status)
        code, request_id, _ = call(failure)
        assert code == grpc_code
        assert request_id
        assert counted(registry, "grpc", status) == before + 1
    assert counted(registry, "grpc", 200) == 0


def test_a_grpc_deadline_that_passes_is_the_servers_failure(call, registry):
    code, _, _ = call(timeout=0.3, wait=True)
    assert code == "DEADLINE_EXCEEDED"
    assert counted(registry, "grpc", 504) == 1


def test_grpc_probes_are_not_seen_and_metadata_is_not_counted(call, registry, log, stream):
    assert call(method="ModelReady")[0] == "OK"
    assert call(method="ModelMetadata")[0] == "OK"
    log.close()
    (line,) = stream.lines()
    assert line["path"].endswith("/ModelMetadata")
    assert counted(registry, "grpc", 200) == 0


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[::1]:4711", "::1"),
        ("unix:/run/socket", "unix:/run/socket"),
        (None, None),
    ],
)
def test_the_address_of_a_grpc_peer(peer, host):
    assert access_log._host_of(peer) == host
