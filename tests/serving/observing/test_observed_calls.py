import asyncio

import pytest

from components.serving.observing import observed_calls
from components.serving.observing.observed_calls import ObservedCalls
from components.serving.observing.request_record import REQUEST_ID, current_request
from tests.serving.conftest import counted


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
    assert observed_calls._host_of(peer) == host
