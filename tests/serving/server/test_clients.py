"""Clients that nobody here wrote, against a real server process."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.shared.records.labels import CLASS_NAMES
from tests.serving.conftest import NAME, V1

pytestmark = pytest.mark.slow

TEXTS = ["lovely dress", "itchy and tight", "süß 👗"]


@pytest.fixture(scope="module")
def expected(server):
    """Label and probabilities of each text."""
    _, answer = server.ask(V1, {"instances": TEXTS})
    return [(row["label"], list(row["probabilities"].values())) for row in answer["predictions"]]


def check(expected, said):
    """Check the values of each output."""
    labels = [label for label, _ in expected]
    assert said["label"] == [CLASS_NAMES[index] for index in said["label_id"]] == labels
    found = np.asarray(said["probabilities"], dtype=float).reshape(len(TEXTS), len(CLASS_NAMES))
    np.testing.assert_allclose(found, [row for _, row in expected], atol=1e-6)
    assert set(said["model_version"]) == {"3"}


def as_text(values):
    flat = np.asarray(values, dtype=object).ravel()
    return [value.decode() if isinstance(value, bytes) else value for value in flat]


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_own_clients(server, expected, binary):
    from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
    from kserve import RESTConfig as Config

    tensor = InferInput("text", [3], "BYTES")
    texts = np.array([text.encode() for text in TEXTS], dtype=np.object_)
    tensor.set_data_from_numpy(texts, binary_data=binary)
    url = f"http://127.0.0.1:{server.port}"
    request = InferRequest(NAME, [tensor], request_id="7")

    async def ask():
        async with InferenceRESTClient(Config(protocol="v1")) as v1:
            first = await v1.infer(url, {"instances": TEXTS}, model_name=NAME)
        async with InferenceRESTClient(Config(protocol="v2")) as v2:
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
        tensors = {output.name: as_text(output.as_numpy()) for output in response.outputs}
        check(expected, tensors)


@pytest.mark.parametrize("protocol", ["http", "http-json", "grpc"])
def test_tritons_client(server, expected, protocol):
    # A process of its own: the client brings KServe's messages too, and protobuf takes them once.
    pytest.importorskip("tritonclient", reason="tritonclient is not installed (extra dev)")
    port = server.grpc_port if protocol == "grpc" else server.port
    script = Path(__file__).with_name("triton_client.py")
    done = subprocess.run(
        [sys.executable, str(script), protocol, f"127.0.0.1:{port}", NAME, *TEXTS],
        **{"capture_output": True, "text": True, "timeout": 120, "check": False},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["inputs"] == ["text", "title", "review_id"]
    assert said["only"] == ["label_id"]
    check(expected, said)
    assert "text[0] is blank" in said["refused"]
