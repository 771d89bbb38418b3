"""Clients that nobody here wrote, against a real server process."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from components.serving.server.protocol import V2_INPUTS, V2_OUTPUTS
from components.shared.records.labels import CLASS_NAMES
from tests.serving.conftest import NAME

pytestmark = pytest.mark.slow

V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
TEXTS = ["lovely dress", "itchy and tight", "süß 👗"]
SCHEMA = json.loads(Path(__file__).with_name("open_inference_rest.json").read_text())


@pytest.fixture(scope="module")
def expected(server):
    """Label and probabilities of each text."""
    _, answer = server.ask(V1, {"instances": TEXTS})
    return [(row["label"], list(row["probabilities"].values())) for row in answer["predictions"]]


def check(expected, labels, label_ids, probabilities, versions):
    assert list(labels) == [label for label, _ in expected]
    assert [CLASS_NAMES[index] for index in label_ids] == list(labels)
    found = np.asarray(probabilities).reshape(len(TEXTS), len(CLASS_NAMES))
    np.testing.assert_allclose(found, [row for _, row in expected], atol=1e-6)
    assert set(versions) == {"3"}


def as_text(values):
    flat = np.asarray(values, dtype=object).ravel()
    return [value.decode() if isinstance(value, bytes) else value for value in flat]


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_own_clients(server, expected, binary):
    from kserve import (
        InferenceGRPCClient,
        InferenceRESTClient,
        InferInput,
        InferRequest,
        RESTConfig,
    )

    tensor = InferInput("text", [3], "BYTES")
    texts = np.array([text.encode() for text in TEXTS], dtype=np.object_)
    tensor.set_data_from_numpy(texts, binary_data=binary)
    url = f"http://127.0.0.1:{server.port}"
    request = InferRequest(NAME, [tensor], request_id="7")

    async def ask():
        async with InferenceRESTClient(RESTConfig(protocol="v1")) as v1:
            first = await v1.infer(url, {"instances": TEXTS}, model_name=NAME)
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as v2:
            assert await v2.is_server_live(url)
            assert await v2.is_server_ready(url)
            assert await v2.is_model_ready(url, NAME)
            second = await v2.infer(url, request, model_name=NAME)
        async with InferenceGRPCClient(f"127.0.0.1:{server.grpc_port}") as grpc:
            assert await grpc.is_server_live()
            assert await grpc.is_server_ready()
            assert await grpc.is_model_ready(NAME)
            return first, second, await grpc.infer(request)

    first, second, third = asyncio.run(ask())
    rows = first["predictions"]
    assert [(row["label"], list(row["probabilities"].values())) for row in rows] == expected
    assert second.id == "7"  # Its from_bytes leaves out the model_version that was sent.
    assert (third.id, third.model_version) == ("7", "3")
    for response in (second, third):
        tensors = {output.name: output.as_numpy() for output in response.outputs}
        check(
            expected,
            as_text(tensors["label"]),
            tensors["label_id"],
            tensors["probabilities"],
            as_text(tensors["model_version"]),
        )


@pytest.mark.parametrize("protocol", ["http", "http-json", "grpc"])
def test_tritons_client(server, expected, protocol):
    # A process of its own: the client brings KServe's messages too, and protobuf takes them once.
    pytest.importorskip("tritonclient", reason="tritonclient is not installed (extra dev)")
    port = server.grpc_port if protocol == "grpc" else server.port
    script = Path(__file__).with_name("triton_client.py")
    done = subprocess.run(
        [sys.executable, str(script), protocol, f"127.0.0.1:{port}", NAME, *TEXTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["inputs"] == ["text", "title", "review_id"]
    assert said["only"] == ["label_id"]
    check(expected, said["label"], said["label_id"], said["probabilities"], said["model_version"])
    assert "text[0] is blank" in said["refused"]


def curl(*arguments, body=None):
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *arguments],
        input=body,
        capture_output=True,
        timeout=60,
        check=True,
    )
    answer, _, status = done.stdout.rpartition(b"\n")
    return int(status), json.loads(answer)


def test_curl(server, expected):
    url = f"http://127.0.0.1:{server.port}"
    status, answer = curl("-d", json.dumps({"instances": TEXTS}), url + V1)
    assert status == 200
    assert [row["label"] for row in answer["predictions"]] == [label for label, _ in expected]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    status, answer = curl("-d", json.dumps({"inputs": [tensor]}), url + V2)
    assert status == 200
    assert answer["outputs"][0]["data"] == [label for label, _ in expected]
    for path in (V1, V2):
        status, answer = curl(
            "--data-binary", "@-", url + path, body=b'{"instances": ["\xff\xfe"]}'
        )
        assert (status, list(answer)) == (400, ["error"])
    chunked = ("-H", "Transfer-Encoding: chunked", "--data-binary", "@-")
    status, _ = curl(*chunked, url + V1, body=json.dumps({"instances": TEXTS}).encode())
    assert status == 200


def of(kind):
    return {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{kind}"}


def size_of(shape):
    return int(np.prod(shape))


@pytest.mark.parametrize("names", [[], ["label_id"], ["probabilities", "label"]])
def test_answers_follow_the_open_inference_protocol(server, names):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    asked = {"id": "7", "inputs": [tensor], "outputs": [{"name": name} for name in names]}
    jsonschema.validate(asked, of("inference_request"))
    status, answer = server.ask(V2, asked)
    assert status == 200
    jsonschema.validate(answer, of("inference_response"))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (NAME, "3", "7")
    described = {output["name"]: output for output in V2_OUTPUTS}
    assert {output["name"] for output in answer["outputs"]} == (set(names) or set(described))
    for output in answer["outputs"]:
        promised = described[output["name"]]
        assert output["datatype"] == promised["datatype"]
        assert output["shape"] == [3, *promised["shape"][1:]]
        assert len(output["data"]) == size_of(output["shape"])
        kind = {"BYTES": str, "INT32": int, "FP32": float}[output["datatype"]]
        assert all(type(value) is kind for value in output["data"])


def test_metadata_follow_the_open_inference_protocol(server):
    _, metadata = server.ask("/v2")
    jsonschema.validate(metadata, of("metadata_server_response"))
    _, metadata = server.ask(f"/v2/models/{NAME}")
    jsonschema.validate(metadata, of("metadata_model_response"))
    assert metadata == {
        "name": NAME,
        "versions": ["3"],
        "platform": "torch",
        "inputs": V2_INPUTS,
        "outputs": V2_OUTPUTS,
    }
    for path, kind in (
        ("/v2/health/live", "live_server_response"),
        ("/v2/health/ready", "ready_server_response"),
        (f"/v2/models/{NAME}/ready", "ready_model_response"),
    ):
        _, answer = server.ask(path)
        jsonschema.validate(answer, of(kind))
    for path, body in ((V2, {"inputs": []}), (V1, {}), ("/v2/models/none", None)):
        status, answer = server.ask(path, body)
        assert status in (400, 404)
        jsonschema.validate(answer, of("error_response"))
