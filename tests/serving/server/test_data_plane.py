import asyncio
import json
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferRequest, ModelRepository
from kserve.errors import InvalidInput

from components.serving.server.data_plane import ClosedRepository, ForgivingDataPlane

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["soft"]}


@pytest.fixture(scope="module")
def data_plane():
    return ForgivingDataPlane(model_registry=ModelRepository())


def decode(data_plane, body, protocol="v2", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return data_plane.decode(body, named, protocol_version=protocol, model_name="m")[0]


def binary(content):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}]})
    return head.encode() + content, str(len(head))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_json_is_read_as_json_whatever_it_is_called(data_plane, content_type):
    headers = {"content_type": content_type} if content_type else {}
    request = decode(data_plane, json.dumps({"inputs": [TENSOR]}).encode(), **headers)
    assert isinstance(request, InferRequest)
    assert request.inputs[0].data == ["soft"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe", "not UTF-8"), (b"soft", None)],
)
def test_binary_tensors_are_read_or_refused_in_words(data_plane, content, reason):
    body, size = binary(struct.pack("<I", len(content)) + content)
    if reason is None:
        request = decode(data_plane, body, inference_header_content_length=size)
        assert request.inputs[0].as_numpy().tolist() == ["soft"]
        return
    with pytest.raises(InvalidInput, match=reason):
        decode(data_plane, body, inference_header_content_length=size)


def test_a_tensor_that_ends_within_a_text_is_refused(data_plane):
    body, size = binary(b"\x09\0\0\0abc")
    with pytest.raises(InvalidInput, match="ends within a text"):
        decode(data_plane, body, inference_header_content_length=size)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_compressed_bodies_are_refused(data_plane, protocol):
    body = json.dumps({"instances": ["soft"], "inputs": [TENSOR]}).encode()
    with pytest.raises(InvalidInput, match="content-encoding 'gzip'"):
        decode(data_plane, body, protocol, content_encoding="gzip")
    assert decode(data_plane, body, protocol, content_encoding="identity")


@given(
    body=st.binary(max_size=60),
    protocol=st.sampled_from(["v1", "v2"]),
    size=st.none() | st.integers(-5, 99).map(str) | st.text(max_size=3),
    content_type=st.sampled_from(["application/json", "text/plain", "application/octet-stream"]),
)
def test_bytes_are_read_or_refused(data_plane, body, protocol, size, content_type):
    headers = {"content_type": content_type}
    headers |= {} if size is None else {"inference_header_content_length": size}
    with suppress(InvalidInput):
        decode(data_plane, body, protocol, **headers)


@pytest.mark.parametrize("call", ["load", "unload"])
def test_no_client_loads_or_unloads(call):
    with pytest.raises(InvalidInput, match="loads and unloads no models"):
        asyncio.run(getattr(ClosedRepository(ModelRepository()), call)("m"))
