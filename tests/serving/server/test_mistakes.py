import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.conftest import NAME, element

pytestmark = pytest.mark.slow

LIMIT = 8 * 2**20


@pytest.fixture(scope="module")
def stub(server):
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    with grpc.insecure_channel(
        f"127.0.0.1:{server.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        yield GRPCInferenceServiceStub(channel)


def message(*texts, name="text", shape=None, datatype="BYTES", raw=None, outputs=(), **of):
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    tensor = pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=[len(texts)] if shape is None else shape
    )
    if raw is None:
        tensor.contents.bytes_contents.extend(texts)
    request = pb.ModelInferRequest(**({"model_name": NAME} | of), inputs=[tensor])
    request.raw_input_contents.extend(raw or ())
    for output in outputs:
        request.outputs.add(name=output)
    return request


ONE_TEXT = [b"soft"]
GRPC_MISTAKES = {
    "datatype": (ONE_TEXT, {"datatype": "INT32"}),
    "shape none": (ONE_TEXT, {"shape": []}),
    "shape huge": (ONE_TEXT, {"shape": [2**62]}),
    "shape wraps": (ONE_TEXT, {"shape": [2**32, 2**32]}),
    "unknown output": (ONE_TEXT, {"outputs": ["score"]}),
    "raw bad UTF-8": ([], {"raw": [element(b"\xff\xfe")], "shape": [1]}),
    "cut": ([], {"raw": [b"\x09\0\0\0abc"], "shape": [1]}),
    "cut size": ([], {"raw": [b"\x09\0"], "shape": [1]}),
    "raw count": ([], {"raw": [element(b"a")] * 2, "shape": [1]}),
    "bad UTF-8": ([b"\xff"], {}),
    "too long": ([b"x" * (LIMIT + 1)], {"code": "RESOURCE_EXHAUSTED"}),
    "model": (ONE_TEXT, {"model_name": "other", "code": "NOT_FOUND"}),
    "version": (ONE_TEXT, {"model_version": "9", "code": "NOT_FOUND"}),
}


@pytest.mark.parametrize("name", GRPC_MISTAKES)
def test_grpc_says_what_is_wrong(stub, name):
    texts, changed = GRPC_MISTAKES[name]
    code = (changed := dict(changed)).pop("code", "INVALID_ARGUMENT")
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(message(*texts, **changed), timeout=30)
    assert refused.value.code().name == code
    assert len(refused.value.details()) > 5


def test_grpc_unloads_nothing(stub):
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    with pytest.raises(grpc.RpcError) as refused:
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=NAME))
    assert refused.value.code().name == "INVALID_ARGUMENT"
    assert stub.ModelInfer(message(b"soft")).model_version == "3"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.binary(max_size=8), max_size=3),
    shape=st.none() | st.lists(st.integers(-2, 4) | st.integers(-(2**63), 2**63 - 1), max_size=3),
    datatype=st.sampled_from(["BYTES", "BYTES", "FP32", "x", ""]),
    raw=st.none() | st.lists(st.binary(max_size=20), max_size=2),
    outputs=st.lists(st.sampled_from(["label", "label_id", "x", ""]), max_size=2),
    id=st.text(max_size=5),
    metadata=st.sampled_from(
        [(), (("content-length", "x"),), (("content-length", "5"),), (("x-request-id", "ok"),)]
    ),
)
def test_whatever_is_sent_over_grpc_is_answered_or_refused(stub, metadata, texts, **sent):
    try:
        answer = stub.ModelInfer(message(*texts, **sent), timeout=30, metadata=metadata)
        code = "OK"
    except grpc.RpcError as error:
        answer, code = None, error.code().name
    assert code in ("OK", "INVALID_ARGUMENT")
    if answer:
        assert {output.name for output in answer.outputs} >= set(sent["outputs"])


def test_nothing_of_this_was_a_fault_of_the_server(server):
    assert server.process.poll() is None
    assert "Traceback" not in server.stderr.read_text()
