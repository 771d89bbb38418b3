import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from components.serving.observing import observer as observing
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.observer import CLIENT_LEFT, REQUEST_ID, ObservedApp, Observer
from components.serving.observing.payload_rows import Asked
from components.shared.machine.ports import free_port
from components.shared.records.serving_metrics import PREDICTIONS, REQUEST_SECONDS
from tests.serving.conftest import ask, counted

V1 = "/v1/models/reviews:predict"
V2 = "/v2/models/reviews/infer"
SAID = SimpleNamespace(classes=np.array([2]), probabilities=np.eye(3)[[2]], truncated=[False])


def answering(observer=None, status=200):
    """An application that predicts one review, answers, and remembers the headers it saw."""

    async def app(scope, receive, send):
        app.headers = dict(scope["headers"])
        await receive()
        if observer:
            observer.predicted([Asked("soft")], SAID, 0.25)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        await send({"type": "http.response.body", "body": b"}"})

    return app


@pytest.mark.parametrize(
    ("path", "protocol"), [(V1, "v1"), (V2, "v2"), ("/v2/models/reviews/versions/7/infer", "v2")]
)
def test_an_inference_request_is_counted_timed_and_logged(
    observer, log, stream, registry, path, protocol
):
    inner = answering(observer)
    status, headers, body = ask(ObservedApp(inner, observer), path, b"x", headers=[(b"a", b"b")])
    assert (status, body) == (200, b"{}")
    request_id = inner.headers[b"x-request-id"]
    assert headers[b"x-request-id"] == request_id
    assert len(request_id) == 32
    assert counted(registry, protocol, 200) == 1
    labels = {"model_name": "reviews", "model_version": "7"}
    assert 0 < registry.get_sample_value(f"{REQUEST_SECONDS}_sum", labels) < 1
    assert registry.get_sample_value(PREDICTIONS, {**labels, "label": "positive"}) == 1
    log.close()
    (line,) = stream.lines()
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        **{"request_id": request_id.decode(), "client": "10.1.2.3", "method": "POST", "path": path},
        **{"status": 200, "reviews": 1, "queue_ms": 250.0, "model_version": "7"},
    }


def test_the_payload_log_gets_the_answer_with_the_requests_id(metrics):
    recorded = []
    payloads = SimpleNamespace(record=lambda *row: recorded.append(row), close=lambda: None)
    observer = Observer(metrics, payload_log=payloads)
    ask(ObservedApp(answering(observer), observer), V1, headers=[(b"x-request-id", b"order-4711")])
    observer.predicted([Asked("by the server itself")], SAID, 0.0)
    said = (SAID.classes, SAID.probabilities, SAID.truncated)
    assert recorded == [
        ("order-4711", [Asked("soft")], *said),
        ("", [Asked("by the server itself")], *said),
    ]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_an_id_that_may_not_stand_in_a_header_is_replaced_everywhere(given_id):
    inner = answering()
    observer = Observer(ServingMetrics("reviews", "7", CollectorRegistry()))
    _, headers, _ = ask(ObservedApp(inner, observer), V2, headers=[(b"x-request-id", given_id)])
    answered = headers[b"x-request-id"]
    plain = 0 < len(given_id) <= 128 and all(0x20 < byte < 0x7F for byte in given_id)
    assert (answered == given_id) == plain
    assert answered.decode("ascii").isprintable()
    assert inner.headers[b"x-request-id"] == answered


def test_probes_and_scrapes_are_not_logged(observer, log, stream):
    for path in (
        *("/", "/metrics", "/v2/health/live", "/v2/health/ready", "/v1/models/reviews"),
        "/v2/models/reviews/ready",
    ):
        ask(ObservedApp(answering(), observer), path, method="GET")
    log.close()
    assert stream.getvalue() == b""


def test_refusals_are_counted_and_other_requests_only_logged(observer, log, stream, registry):
    app = ObservedApp(answering(status=404), observer)
    ask(app, "/v2/models/reviews", method="GET")
    ask(app, "/v1/models/reviews/nothing", method="GET")
    ask(app, "/nothing")
    assert counted(registry, "v1", 404) == counted(registry, "v2", 404) == 0
    ask(app, V1)
    assert (counted(registry, "v1", 404), counted(registry, "v1", 200)) == (1, 0)
    log.close()
    assert [line["status"] for line in stream.lines()] == [404] * 4


@pytest.mark.parametrize(("gone", "status"), [(False, 500), (True, CLIENT_LEFT)])
@pytest.mark.parametrize("started", [False, True])
def test_an_answer_that_breaks_off_is_the_servers_error_unless_the_client_left(
    observer, registry, started, gone, status
):
    async def breaking(scope, receive, send):
        while gone and (await receive())["type"] != "http.disconnect":
            pass
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if started and gone:
            await send({"type": "http.response.body", "body": b""})
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ask(ObservedApp(breaking, observer), V2, b"half", None)
    counts = {code: counted(registry, "v2", code) for code in (200, 500, CLIENT_LEFT)}
    assert counts == {200: 0, 500: 0, CLIENT_LEFT: 0} | {status: 1}


def test_other_scopes_pass_through(observer):
    app, lifespan = AsyncMock(), {"type": "lifespan"}
    asyncio.run(ObservedApp(app, observer)(lifespan, None, None))
    app.assert_awaited_once_with(lifespan, None, None)


def test_requests_at_the_same_time_keep_their_own_records(observer, log, stream):
    async def app(scope, receive, send):
        number = int(dict(scope["headers"])[b"x-request-id"])
        await asyncio.sleep(0)
        observer.predicted([Asked("soft")], SAID, number / 1000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def together():
        scope = {"type": "http", "method": "POST", "path": V2}
        ids = [[(b"x-request-id", str(number).encode())] for number in range(5)]
        asked = (
            ObservedApp(app, observer)({**scope, "headers": one}, None, AsyncMock()) for one in ids
        )
        await asyncio.gather(*asked)

    asyncio.run(together())
    log.close()
    waits = {line["request_id"]: line["queue_ms"] for line in stream.lines()}
    assert waits == {str(number): float(number) for number in range(5)}


@pytest.fixture
def call(observer):
    """Calls a method of KServe's gRPC servicer, around a given model, as a client does."""
    import grpc
    from kserve import InferResponse, Model
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

    from components.serving.options import Endpoint
    from components.serving.server.data_plane import ForgivingDataPlane
    from components.serving.server.server import _started_grpc

    inference = pb.ModelInferRequest(model_name="reviews")

    def call(failure=None, *, method="ModelInfer", message=inference, wait=False, **how):
        seen = {}

        class Fake(Model):
            version, engine_name = "7", "fake"

            async def predict(self, payload, headers=None):
                seen.update(headers)
                observer.predicted([Asked("soft")], SAID, 0.25)
                if wait:
                    await asyncio.sleep(30)
                if failure:
                    raise failure
                return InferResponse("1", self.name, [])

        async def go():
            model = Fake("reviews")
            model.load()
            endpoint = Endpoint(grpc_port=(port := free_port("127.0.0.1", 0)))
            server = await _started_grpc(ForgivingDataPlane(model), endpoint, observer)
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    stub = services.GRPCInferenceServiceStub(channel)
                    answer = getattr(stub, method)(message, **how)
                    code = await answer.code()
                    trailing = dict(await answer.trailing_metadata() or ())
            finally:
                # A call that the client has given up ends before the server does.
                await server.stop(5)
            return code.name, trailing.get(REQUEST_ID), seen

        return asyncio.run(go())

    return call


def test_grpc_is_counted_and_logged_in_the_same_form(call, registry, log, stream):
    _, made, seen = call()
    assert len(made) == 32
    assert seen[REQUEST_ID] == made
    code, request_id, seen = call(metadata=[(REQUEST_ID, "mine")])
    assert (code, request_id, seen[REQUEST_ID]) == ("OK", "mine", "mine")
    assert counted(registry, "grpc", 200) == 2
    log.close()
    _, line = stream.lines()
    assert (line["method"], line["path"]) == ("gRPC", "/inference.GRPCInferenceService/ModelInfer")
    assert (line["status"], line["request_id"], line["client"]) == (200, "mine", "127.0.0.1")
    assert (line["reviews"], line["queue_ms"]) == (1, 250.0)


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


def test_a_late_grpc_answer_is_a_failure_and_only_inference_is_counted(call, registry, log, stream):
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    assert call(timeout=0.3, wait=True)[0] == "DEADLINE_EXCEEDED"
    assert counted(registry, "grpc", 504) == 1
    for method, message in (
        ("ModelReady", pb.ModelReadyRequest(name="reviews")),
        ("ModelMetadata", pb.ModelMetadataRequest(name="reviews")),
    ):
        assert call(method=method, message=message)[0] == "OK"
    assert counted(registry, "grpc", 200) == 0
    log.close()
    methods = [line["path"].rpartition("/")[2] for line in stream.lines()]
    assert methods == ["ModelInfer", "ModelMetadata"]  # Probes are not logged.


def test_the_address_of_a_grpc_peer():
    peers = ("ipv4:10.0.0.1:4711", "ipv6:%5B::1%5D:4711", "ipv6:[::1]:4711", "unix:/socket", None)
    hosts = ["10.0.0.1", "::1", "::1", "unix:/socket", None]
    assert [observing._host_of(peer) for peer in peers] == hosts
