"""gRPC calls observed, in the same form as REST requests."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
import grpc.aio

from components.serving.observing.access_log import AccessLog
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.request_record import (
    CLIENT_LEFT,
    REQUEST_ID,
    RequestRecord,
    current_request,
    taken_or_made,
)

STATUS_OF_GRPC: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: CLIENT_LEFT,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    # Elsewhere 429. Here the queue is what is exhausted, for which REST answers 503.
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}
"""HTTP status for each gRPC status, as google/rpc/code.proto of googleapis maps them."""

_QUIET_CALLS = frozenset({"ServerLive", "ServerReady", "ModelReady"})
_INFER = "/inference.GRPCInferenceService/ModelInfer"

_DEADLINE_SECONDS = 0.005
"""A call that gRPC cancels with less time left than this has missed its deadline."""


class ObservedCalls(grpc.aio.ServerInterceptor):
    """Interceptor: ids, the count and the log of gRPC calls.

    To be the first interceptor of a server, so that it sees the final status.

    The id comes and goes in the metadata `x-request-id`. It is set as trailing metadata before the
    call, which KServe hands to the model among the headers.
    """

    def __init__(self, metrics: ServingMetrics, access_log: AccessLog | None = None) -> None:
        """Set up the interceptor.

        Args:
            metrics: Counts inference calls.
            access_log: Gets a line for each call but the probes; None logs nothing.
        """
        self._metrics = metrics
        self._log = access_log

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Wrap the handler of a unary call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if (
            handler is None
            or handler.unary_unary is None
            or method.rpartition("/")[2] in _QUIET_CALLS
        ):
            return handler
        answer = handler.unary_unary

        async def observed(message: Any, context: grpc.aio.ServicerContext) -> Any:
            started = time.perf_counter()
            given = dict(context.invocation_metadata() or ())
            request_id = taken_or_made(given.get(REQUEST_ID))
            client = _host_of(context.peer())
            request = RequestRecord(request_id, "gRPC", method, client, time.time())
            current_request.set(request)
            context.set_trailing_metadata((_Metadatum(REQUEST_ID, request_id),))
            try:
                return await answer(message, context)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError:
                remaining = context.time_remaining()
                late = remaining is not None and remaining < _DEADLINE_SECONDS
                request.status = 504 if late else CLIENT_LEFT
                raise
            except BaseException:
                request.status = 500
                raise
            finally:
                request.status = request.status or _status_of(context)
                request.seconds = time.perf_counter() - started
                if method == _INFER:
                    self._metrics.answered("grpc", request.status, request.seconds)
                if self._log is not None:
                    self._log.write(request)

        return grpc.unary_unary_rpc_method_handler(
            observed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


class _Metadatum(NamedTuple):
    """A pair of metadata as gRPC gives them: KServe reads the fields by name."""

    key: str
    value: str


def _status_of(context: grpc.aio.ServicerContext) -> int:
    """HTTP status of a call that was answered; gRPC notes no status where it succeeded."""
    return STATUS_OF_GRPC[context.code() or grpc.StatusCode.OK]


def _host_of(peer: str | None) -> str | None:
    """Address without its port from gRPC's `ipv4:10.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    if not peer or not peer.startswith(("ipv4:", "ipv6:")):
        return peer
    return unquote(peer[5:].rpartition(":")[0]).strip("[]")
