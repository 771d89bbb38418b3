import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.shared.records.labels import SENTIMENTS
from tests.serving.conftest import NAME, V1

pytestmark = pytest.mark.slow

TEXTS = ["lovely dress", "itchy and tight", "süß 👗"]


@pytest.fixture(scope="module")
def rows(server):
    """What v1 answers."""
    return json.loads(server.request(V1, {"instances": TEXTS})[2])["predictions"]


def check(said, rows):
    """Check the values of each v2 output."""
    assert said["label"] == [row["label"] for row in rows]
    assert [SENTIMENTS.names[index] for index in said["label_id"]] == said["label"]
    found = np.reshape(said["probabilities"], (len(TEXTS), len(SENTIMENTS)))
    expected = [list(row["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert said["model_version"] == ["3"] * len(TEXTS)


def as_text(values):
    return [v.decode() if isinstance(v, bytes) else v for v in np.ravel(values).tolist()]


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_own_clients(server, rows, binary):
    from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
    from kserve import RESTConfig as Config

    tensor = InferInput("text", [len(TEXTS)], "BYTES")
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

    first, *others = asyncio.run(ask())
    assert first["predictions"] == rows
    for response in others:
        assert response.id == "7"
        check({output.name: as_text(output.as_numpy()) for output in response.outputs}, rows)


@pytest.mark.parametrize("protocol", ["http", "http-json", "grpc"])
def test_tritons_client(server, rows, protocol):
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
    check(said, rows)
    assert "text[0] is blank" in said["refused"]
