"""Requests observed, over REST and gRPC alike: each gets an id, is counted, timed and logged.

Only inference requests are counted; health probes and `/metrics` are neither counted nor logged.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence, Set
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
import grpc.aio

from components.serving.observing.access_log import AccessLog, RequestRecord
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.payload_log import PayloadLog
from components.serving.observing.payload_rows import Asked, PayloadRows
from components.serving.options import LogOptions
from components.shared.records.masking import Masker

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "x-request-id"
"""Header (metadata key in gRPC) that carries a request's id, in and out."""

CLIENT_LEFT = 499
"""Status of a request whose client went away before its answer (nginx's number for it)."""

STATUS_OF_GRPC: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: CLIENT_LEFT,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    # Elsewhere 429. Here the queue is what is exhausted, for which REST answers 503.
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
"""HTTP status for the gRPC statuses that a server answers, as google/rpc/code.proto of googleapis
maps them; 500 for all others."""

_DEADLINE_SECONDS = 0.005
"""A call that gRPC cancels with less time left than this has missed its deadline."""

_NO_LIST = (
    "the model folder has no list of known words: the payload log does without unknown_share, and "
    "kept texts are masked without the rule for rare names; export the model again"
)
_ID_HEADER = REQUEST_ID.encode("ascii")
_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PROBES = frozenset({"/", "/metrics", "/v2/health/live", "/v2/health/ready"})
_GRPC_PROBES = frozenset({"ServerLive", "ServerReady", "ModelReady"})
_GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"

_current: ContextVar[RequestRecord | None] = ContextVar("request", default=None)


class Observer:
    """What is noted of requests: metrics, a line in the access log, rows in the payload log."""

    def __init__(
        self,
        metrics: ServingMetrics,
        access_log: AccessLog | None = None,
        payload_log: PayloadLog | None = None,
    ) -> None:
        """Take the logs; where one is None, it is not written."""
        self.metrics = metrics
        self._access_log = access_log
        self._payload_log = payload_log

    @classmethod
    def opened(
        cls,
        name: str,
        version: str,
        class_names: Sequence[str],
        *,
        logs: LogOptions,
        known_words: Set[str] | None = None,
    ) -> "Observer":
        """The observer of a model, with a payload log where its URI is given."""
        metrics = ServingMetrics(name, version, class_names=class_names)
        payload_log = None
        if logs.payload_log:
            if known_words is None:
                logger.warning(_NO_LIST)
            masker = Masker(known_words) if logs.keep_texts else None
            rows = PayloadRows(
                name, version, class_names, known_words, masker=masker, on_masked=metrics.masked
            )
            dropped = metrics.payloads_dropped
            payload_log = PayloadLog(logs.payload_log, rows, on_dropped=dropped)
        access_log = None if logs.no_access_log else AccessLog(version)
        return cls(metrics, access_log, payload_log)

    def begin(
        self, given_id: str | None, method: str, path: str, client: str | None
    ) -> RequestRecord:
        """Start the record of the request that the running task answers.

        An id that the client gives is used where it is short and plain, so that it may stand in
        headers and logs; else one is made.
        """
        is_safe = given_id is not None and _SAFE_ID.fullmatch(given_id)
        request_id = given_id if is_safe else uuid.uuid4().hex
        request = RequestRecord(request_id, method, path, client, time.time())
        _current.set(request)
        return request

    def predicted(self, asked: Sequence[Asked], predictions: Any, queue_seconds: float) -> None:
        """Note what the model predicted in the running task (`predictor.Predictions`)."""
        classes, truncated = predictions.classes, predictions.truncated
        self.metrics.predicted(classes, predictions.probabilities, truncated)
        request = _current.get()
        if request is not None:
            request.queue_seconds = queue_seconds
            request.reviews = len(asked)
        if self._payload_log is not None:
            request_id = request.request_id if request else ""
            self._payload_log.record(
                request_id, asked, classes, predictions.probabilities, truncated
            )

    def end(self, request: RequestRecord, seconds: float, protocol: str | None) -> None:
        """Complete a request's record; it is counted where it has an inference protocol."""
        request.seconds = seconds
        if protocol:
            self.metrics.answered(protocol, request.status, seconds)
        if self._access_log is not None:
            self._access_log.write(request)

    def close(self) -> None:
        """Write what waits in the logs."""
        for log in (self._payload_log, self._access_log):
            if log is not None:
                log.close()


class ObservedApp:
    """ASGI middleware: ids, the count and the log of REST requests.

    To be put around the whole application, so that what it measures is what the client gets, its
    error pages included. The application sees the id in the request's headers, the client in the
    answer's.
    """

    def __init__(self, app: App, observer: Observer) -> None:
        """Wrap an application."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or (scope["method"] == "GET" and _is_probe(scope["path"])):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = [value for name, value in scope["headers"] if name == _ID_HEADER]
        given_id = given[-1].decode("latin-1") if given else None
        client, method, path = scope.get("client"), scope["method"], scope["path"]
        request = self._observer.begin(given_id, method, path, client and client[0])
        header = (_ID_HEADER, request.request_id.encode("ascii"))
        if request.request_id != given_id:
            others = [other for other in scope["headers"] if other[0] != _ID_HEADER]
            scope["headers"] = [*others, header]
        finished = 0.0

        async def observed_send(message: Message) -> None:
            nonlocal finished
            kind = message["type"]
            if kind == "http.response.start":
                request.status = request.status or message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)
            if kind == "http.response.body" and not message.get("more_body", False):
                finished = time.perf_counter()

        async def observed_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not request.status:
                request.status = CLIENT_LEFT
            return message

        try:
            await self._app(scope, observed_receive, observed_send)
        finally:
            if not finished:
                # No complete answer: the server failed, or the client has left.
                finished = time.perf_counter()
                if request.status != CLIENT_LEFT:
                    request.status = 500
            protocol = _protocol_of(path) if method == "POST" else None
            self._observer.end(request, finished - started, protocol)


def _is_probe(path: str) -> bool:
    """Whether a GET of this path is a probe or a scrape."""
    if path in _PROBES or path.endswith("/ready"):
        return True
    # KServe's v1 readiness: /v1/models/NAME
    return path.startswith("/v1/models/") and path.count("/") == 3


def _protocol_of(path: str) -> str | None:
    """Protocol of an inference request, from the path of its POST."""
    if path.startswith("/v2/models/") and path.endswith("/infer"):
        return "v2"
    if path.startswith("/v1/models/") and path.endswith(":predict"):
        return "v1"
    return None


class ObservedCalls(grpc.aio.ServerInterceptor):
    """Interceptor: ids, the count and the log of gRPC calls, in the same form as REST requests.

    To be the first interceptor of a server, so that it sees the final status. The id comes and goes
    in the metadata `x-request-id`. It is set as trailing metadata before the call, which KServe
    hands to the model among the headers.
    """

    def __init__(self, observer: Observer) -> None:
        """Remember who is to be informed."""
        self._observer = observer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Wrap the handler of a unary call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        is_probe = method.rpartition("/")[2] in _GRPC_PROBES
        if handler is None or handler.unary_unary is None or is_probe:
            return handler
        answer = handler.unary_unary

        async def observed(message: Any, context: grpc.aio.ServicerContext) -> Any:
            started = time.perf_counter()
            given_id = dict(context.invocation_metadata() or ()).get(REQUEST_ID)
            request = self._observer.begin(given_id, "gRPC", method, _host_of(context.peer()))
            context.set_trailing_metadata((_Metadatum(REQUEST_ID, request.request_id),))
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
                # gRPC notes no status where a call succeeded.
                code = context.code() or grpc.StatusCode.OK
                request.status = request.status or STATUS_OF_GRPC.get(code, 500)
                seconds = time.perf_counter() - started
                self._observer.end(request, seconds, "grpc" if method == _GRPC_INFER else None)

        return grpc.unary_unary_rpc_method_handler(
            observed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


class _Metadatum(NamedTuple):
    """A pair of metadata as gRPC gives them: KServe reads the fields by name."""

    key: str
    value: str


def _host_of(peer: str | None) -> str | None:
    """Address without its port from gRPC's `ipv4:10.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    if not peer or not peer.startswith(("ipv4:", "ipv6:")):
        return peer
    return unquote(peer[5:].rpartition(":")[0]).strip("[]")
