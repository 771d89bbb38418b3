import gzip
import http.client
import json
import math
import socket
import threading
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.serving.model.batching import OverloadedError
from components.serving.observing.observer import ObservedApp
from components.serving.server.app import rest_application
from components.serving.server.connection import BoundedConnection
from components.serving.server.data_plane import ForgivingDataPlane
from components.serving.server.protocol import V2_INPUTS, V2_OUTPUTS
from components.serving.server.sentiment_model import Refusal, SentimentModel
from tests.serving.conftest import NAME, ONE, V1, V2, anything, ask, counted, element

JSON = [(b"content-type", b"application/json")]
LIMIT = 1_000_000
HEAD_SIZE = b"inference-header-content-length"
SCHEMA = json.loads(Path(__file__).with_name("open_inference_rest.json").read_text())


@pytest.fixture(scope="module")
def model(served_folder):
    model = SentimentModel(NAME, "3", served_folder, engine="torch")
    yield model
    model.stop()


@pytest.fixture(scope="module")
def app(model):
    return rest_application(ForgivingDataPlane(model), LIMIT)


def asked(app, path, body=b"", headers=JSON, method="POST"):
    """Status, headers and body of the answer; objects are sent as JSON."""
    sent = json.dumps(body).encode() if isinstance(body, dict | list) else body
    length = (b"content-length", str(len(sent)).encode())
    return ask(app, path, sent, headers=[length, *headers], method=method)


def of_the_protocol(answer, kind):
    """The answer, decoded, if the Open Inference Protocol describes it so."""
    found = json.loads(answer)
    jsonschema.validate(found, {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{kind}"})
    return found


def v2(**changed):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["soft"]}
    return {"inputs": [tensor | changed]}


def binary(content, size=None, head_size=None, shape=(1,)):
    """Body and headers of a request with a binary tensor."""
    parameters = {"binary_data_size": len(content) if size is None else size}
    tensor = {"name": "text", "shape": shape, "datatype": "BYTES", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + content, [(HEAD_SIZE, str(head_size or len(head)).encode())]


# What is decided here; the mistakes within a request that can be read are test_protocol's.
MISTAKES = {
    "nothing": (V1, b""),
    "nothing v2": (V2, b""),
    "no JSON": (V1, b"{"),
    "null": (V2, b"null"),
    "no inputs": (V2, {}),
    "datatype": (V2, v2(datatype="INT32", data=[1])),
    "datatype FP16": (V2, v2(datatype="FP16", data=[1])),
    "ragged": (V2, v2(shape=[2], data=[["a", "b"], ["c"]])),
    "shape broken": (V2, v2(shape=[0.5])),
    "no name": (V2, {"inputs": [{"shape": [1], "datatype": "BYTES", "data": ["a"]}]}),
    "parameters": (V2, {**v2(), "parameters": {"a": [1]}}),
    "NaN": (V1, b'{"instances": [NaN]}'),
    "NaN v2": (V2, b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":[NaN]}]}'),
    "deep": (V1, b'{"instances":' + b"[" * 10**4 + b"]" * 10**4 + b"}"),
    "deep without a type": (V1, b'{"instances":' + b"[" * 10**4 + b"]" * 10**4 + b"}", []),
    "deep v2": (V2, b'{"inputs":' + b"[" * 10**4 + b"]" * 10**4 + b"}"),
    "bad UTF-8": (V1, b'{"instances": ["\xff\xfe"]}'),
    "bad UTF-8 v2": (V2, json.dumps(v2()).encode().replace(b"soft", b"\xff")),
    "half a character": (V1, b'{"instances": ["\\ud800"]}'),
    "half a character without a type": (V1, b'{"instances": ["\\ud800"]}', []),
    "binary bad UTF-8": (V2, *binary(element(b"\xff\xfe"))),
    "binary cut": (V2, *binary(b"\x09\0\0\0abc")),
    "binary shape": (V2, *binary(element(b"soft"), shape=[2])),
    "binary head": (V2, *binary(element(b"soft"), head_size="x")),
    "gzip without gzip": (V1, ONE, [*JSON, (b"content-encoding", b"gzip")]),
    "gzip": (V2, gzip.compress(json.dumps(v2()).encode()), [(b"content-encoding", b"gzip")]),
    "too long": (V1, b"x" * (LIMIT + 1)),
    "key": (V1, {"instances": [{"review_id": "r1"}]}),
    "unload": (f"/v2/repository/models/{NAME}/unload", b""),
    "load": (f"/v2/repository/models/{NAME}/load", b""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_400_and_the_reason(app, name):
    path, *sent = MISTAKES[name]
    status, headers, answer = asked(app, path, *sent)
    assert (status, headers[b"content-type"]) == (400, b"application/json")
    assert len(of_the_protocol(answer, "error_response")["error"]) > 5


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/v1/models/other:predict", "POST", ONE, 404),
        ("/v2/models/other/infer", "POST", v2(), 404),
        ("/v2/models/other", "GET", b"", 404),
        (f"/v2/models/{NAME}/versions/9", "GET", b"", 404),
        (f"/v2/models/{NAME}/versions/9/ready", "GET", b"", 404),
        (f"/v2/models/{NAME}/versions/9/infer", "POST", v2(), 404),
        (f"/v2/models/{NAME}/versions/3/infer", "POST", v2(), 200),
        ("/v1/models/%00%2F:predict", "POST", ONE, 404),
        ("/nothing", "GET", b"", 404),
        (V1, "GET", b"", 404),  # KServe's v1 readiness of a model of that name.
        (V2, "GET", b"", 405),
        (V1, "PUT", ONE, 405),
        (V2, "DELETE", b"", 405),
        (f"/v1/models/{NAME}:explain", "POST", ONE, 404),
    ],
)
def test_it_says_what_is_there_and_what_is_not(app, path, method, body, status):
    found, _, answer = asked(app, path, body, method=method)
    assert found == status
    if status != 200:
        assert len(of_the_protocol(answer, "error_response")["error"]) > 20


OUTPUTS = [*V2_OUTPUTS[:2], V2_OUTPUTS[2] | {"shape": [-1, 3]}, *V2_OUTPUTS[3:]]
METADATA = {
    **{"name": NAME, "versions": ["3"], "platform": "torch"},
    **{"inputs": V2_INPUTS, "outputs": OUTPUTS},
}
READY = {"name": NAME, "ready": True}


@pytest.mark.parametrize(
    ("path", "answer", "kind"),
    [
        ("/", {"status": "alive"}, None),
        ("/v1/models", {"models": [NAME]}, None),
        (f"/v1/models/{NAME}", READY, None),
        ("/v2/health/live", {"live": True}, "live_server_response"),
        ("/v2/health/ready", {"ready": True}, "ready_server_response"),
        (f"/v2/models/{NAME}/ready", READY, "ready_model_response"),
        (f"/v2/models/{NAME}/versions/3/ready", READY, "ready_model_response"),
        (f"/v2/models/{NAME}", METADATA, "metadata_model_response"),
        (f"/v2/models/{NAME}/versions/3", METADATA, "metadata_model_response"),
    ],
)
def test_probes_and_metadata_are_answered(app, path, answer, kind):
    status, _, body = asked(app, path, method="GET")
    assert (status, json.loads(body)) == (200, answer)
    if kind:
        of_the_protocol(body, kind)


def test_the_server_is_described(app):
    of_the_protocol(asked(app, "/v2", method="GET")[2], "metadata_server_response")


@pytest.mark.parametrize("names", [[], ["label_id"], ["probabilities", "label"]])
def test_answers_follow_the_open_inference_protocol(app, names):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["soft", "itchy"]}
    sent = {"id": "7", "inputs": [tensor], "outputs": [{"name": name} for name in names]}
    of_the_protocol(json.dumps(sent), "inference_request")
    answer = of_the_protocol(asked(app, V2, sent)[2], "inference_response")
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (NAME, "3", "7")
    described = {output["name"]: output for output in OUTPUTS}
    assert {output["name"] for output in answer["outputs"]} == (set(names) or set(described))
    for output in answer["outputs"]:
        promised = described[output["name"]]
        assert output["datatype"] == promised["datatype"]
        assert output["shape"] == [2, *promised["shape"][1:]]
        assert len(output["data"]) == math.prod(output["shape"])
        kind = {"BYTES": str, "INT32": int, "FP32": float}[output["datatype"]]
        assert all(type(value) is kind for value in output["data"])


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"text/plain", b"application/x-www-form-urlencoded", None],
)
def test_json_is_read_as_json_whatever_it_is_called(app, content_type):
    headers = [(b"content-type", content_type)] if content_type else []
    assert asked(app, V1, ONE, headers)[0] == 200
    assert asked(app, V2, v2(), [*headers, (b"content-encoding", b"identity")])[0] == 200


def test_a_cloud_event_is_answered_with_one(app):
    event = {"ce-id": "1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"}
    headers = [*JSON, *((name.encode(), value.encode()) for name, value in event.items())]
    status, headers, body = asked(app, V1, ONE, headers)
    assert (status, headers[b"ce-specversion"]) == (200, b"1.0")
    assert len(json.loads(body)["predictions"]) == 1


def test_binary_tensors_are_read_and_written(app):
    status, headers, answer = asked(app, V2, *binary(element("süß".encode())))
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(answer)["outputs"][0]["shape"] == [1]
    wanted = {**v2(), "outputs": [{"name": "label_id", "parameters": {"binary_data": True}}]}
    _, headers, answer = asked(app, V2, wanted)
    assert headers[b"content-type"] == b"application/octet-stream"
    size = int(headers[HEAD_SIZE])
    assert [output["name"] for output in json.loads(answer[:size])["outputs"]] == ["label_id"]
    assert len(answer[size:]) == 4
    assert int.from_bytes(answer[size:], "little") in (0, 1, 2)


def test_an_overload_gets_503_and_when_to_come_again(app, model, monkeypatch):
    async def full(_):
        raise OverloadedError(3.2)

    monkeypatch.setattr(model.batcher, "logits", full)
    status, headers, answer = asked(app, V2, v2())
    assert (status, headers[b"retry-after"]) == (503, b"4")
    assert "try again in 4 s" in json.loads(answer)["error"]
    assert Refusal(OverloadedError(3.2)).status_code.name == "RESOURCE_EXHAUSTED"


def test_a_client_that_leaves_in_its_sentence_is_no_fault(app):
    assert ask(app, V1, b'{"instances": ["so', None, headers=JSON)[0] == 499


def some_of(strategy):
    return st.lists(strategy, max_size=3) | anything


def mapped(required, **optional):
    return st.fixed_dictionaries(required, optional=optional)


tensors = mapped(
    {"name": st.sampled_from(["text", "title", "review_id", "x"]), "datatype": st.just("BYTES")},
    shape=some_of(st.integers(-1, 3)),
    data=some_of(st.text(max_size=5) | anything),
    parameters=st.dictionaries(
        st.sampled_from(["binary_data_size", "x"]), st.integers(-9, 99) | anything
    ),
)
outputs = mapped(
    {"name": st.sampled_from(["label", "probabilities", "x"])},
    parameters=st.dictionaries(st.just("binary_data"), anything),
)
parameters = st.dictionaries(st.just("binary_data_output"), anything) | anything
of_v2 = {"id": anything, "parameters": parameters, "outputs": some_of(outputs)}
bodies = st.one_of(
    mapped({"inputs": some_of(tensors)}, **of_v2),
    mapped({"instances": some_of(st.text(max_size=5))}),
    anything,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    body=bodies.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=30),
    tail=st.binary(max_size=12),
    path=st.sampled_from([V1, V2]),
    with_head=st.booleans(),
    content_type=st.sampled_from(["application/json", "text/plain", "application/octet-stream"]),
)
def test_whatever_is_sent_is_answered_or_refused(app, body, tail, path, with_head, content_type):
    headers = [(b"content-type", content_type.encode())]
    if with_head:
        headers.append((HEAD_SIZE, str(len(body)).encode()))
    status, _, answer = asked(app, path, body + tail if with_head else body, headers)
    assert status in (200, 400), (status, answer)
    assert answer


CHUNKED = [*JSON, (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("headers", [[(b"content-length", b"51")], CHUNKED])
def test_a_body_over_the_limit_is_refused_in_words(model, headers):
    app = rest_application(ForgivingDataPlane(model), 50)
    status, answered, body = ask(app, V2, b"0" * 49, b"01", headers=headers)
    assert (status, answered[b"content-type"]) == (400, b"application/json")
    assert "the body has 51 bytes or more, and this server reads 50" in json.loads(body)["error"]
    assert int(answered[b"content-length"]) == len(body)
    assert b"connection" not in answered
    assert len(app.left) == (2 if headers is not CHUNKED else 0)


def test_a_body_without_end_is_cut_off(model):
    app = rest_application(ForgivingDataPlane(model), 10)
    status, answered, _ = ask(app, V2, *[b"0123456789"] * 50, headers=CHUNKED)
    assert (status, answered[b"connection"]) == (400, b"close")
    assert len(app.left) > 30


@pytest.fixture
def address(app, observer):
    """The observed application behind the real HTTP server."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    observed = ObservedApp(app, observer)
    server = uvicorn.Server(uvicorn.Config(observed, http=BoundedConnection, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)


def test_behind_uvicorn_each_answer_has_its_id_and_the_connection_stays(
    address, model, monkeypatch, registry, log, stream
):
    async def broken(_):
        raise RuntimeError("planted")

    locals_ = set()
    with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:

        def post(size, chunked=False):
            text = json.dumps(ONE).encode().ljust(size)
            body = (text[at : at + 10_000] for at in range(0, size, 10_000)) if chunked else text
            headers = {"X-Request-Id": "mine"}
            connection.request("POST", V1, body=body, encode_chunked=chunked, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.getheader("x-request-id") == "mine"
            locals_.add(connection.sock and connection.sock.getsockname())
            return answer.status, content

        for chunked in (False, True):
            assert post(LIMIT, chunked)[0] == 200
            status, content = post(3 * LIMIT, chunked)
            assert status == 400
            assert "send fewer reviews" in json.loads(content)["error"]
        assert post(20)[0] == 200
        assert len(locals_) == 1
        monkeypatch.setattr(model.batcher, "logits", broken)
        assert post(20)[0] == 500
    assert [counted(registry, "v1", code) for code in (200, 400, 500)] == [3, 2, 1]
    log.close()
    assert {(_["request_id"], _["client"]) for _ in stream.lines()} == {("mine", "127.0.0.1")}
