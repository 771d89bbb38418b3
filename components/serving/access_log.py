"""What is seen of each request: its id, how long it took, what became of it, a line in the log.

An ASGI middleware for REST and an interceptor for gRPC, in one form. Both give the request an id,
count its answer in the metrics, and write one line of JSON. Only inference requests are counted;
health probes and `/metrics` are neither counted nor logged.
"""

import asyncio
import json
import logging
import os
import re
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, NamedTuple

import grpc
import grpc.aio
import orjson

from components.serving.metrics import ServingMetrics

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

REQUEST_ID = "x-request-id"
"""Header (metadata key in gRPC) that carries a request's id, in and out."""

CLIENT_LEFT = 499
"""Status of a request whose client went away before its answer (nginx's number for it)."""

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

_STATUS_OF_NUMBER = {code.value[0]: status for code, status in STATUS_OF_GRPC.items()}
_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET_PATHS = frozenset({"/", "/metrics", "/v2/health/live", "/v2/health/ready"})
_QUIET_CALLS = frozenset({"ServerLive", "ServerReady", "ModelReady"})
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_LONGEST_PATH = 256
_PATIENCE = 10
"""A body of so many times the limit is cut off, not read to its end."""

_DEADLINE_SECONDS = 0.005
"""A call that gRPC cancels with less time left than this has missed its deadline."""


@dataclass(slots=True)
class Request:
    """What is known of a request, completed on its way; the log's line is made from it.

    The server that answers it fills in `reviews`, `queue_seconds` and `texts`, found through
    `current_request`.

    Attributes:
        request_id: Given by the client or made here.
        method: HTTP method, or `gRPC`.
        path: Path of the URL, or full name of the gRPC method.
        client: Address of the client, where known.
        started_at: Time of arrival, seconds since 1970.
        status: HTTP status of the answer; 0 until it is known.
        seconds: From arrival to the last byte of the answer.
        reviews: Texts in the request.
        queue_seconds: Longest wait of its texts for a forward pass.
        texts: What the model read; logged only where the log was told to.
    """

    request_id: str
    method: str
    path: str
    client: str | None
    started_at: float
    status: int = 0
    seconds: float = 0.0
    reviews: int | None = None
    queue_seconds: float | None = None
    texts: Sequence[str] | None = None


current_request: ContextVar[Request | None] = ContextVar("current_request", default=None)
"""The request that the running task answers; None outside of one."""


class AccessLog:
    """Writes a line of JSON for each request, from a thread of its own.

    `write` only puts the request in a buffer. The thread makes the lines and writes those of the
    last moments in one go: one wake-up for many lines, where a logging.QueueListener takes one for
    each. When the stream is slow, at most `max_pending` lines wait; further ones are dropped and
    counted, and a line says how many.
    """

    def __init__(
        self,
        model_version: str,
        stream: BinaryIO | None = None,
        *,
        with_texts: bool = False,
        max_pending: int = 10_000,
        flush_seconds: float = 0.2,
    ) -> None:
        """Start the thread.

        Args:
            model_version: Stands in each line.
            stream: Where lines go, as UTF-8; standard output where None.
            with_texts: Whether lines hold the texts of the reviews.
            max_pending: Most lines that wait.
            flush_seconds: How long lines are collected before they are written.
        """
        self._model_version = model_version
        self._stream = _standard_output() if stream is None else stream
        self._with_texts = with_texts
        self._max_pending = max_pending
        self._flush_seconds = flush_seconds
        self._pending: deque[Request] = deque()
        self._dropped = 0
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, request: Request) -> None:
        """Take a finished request into the log. Never blocks; called from one thread."""
        if len(self._pending) >= self._max_pending or self._closing.is_set():
            self._dropped += 1
            return
        self._pending.append(request)
        if not self._awake.is_set():
            self._awake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds, and end the thread."""
        self._closing.set()
        self._awake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        """Write lines until closed."""
        told = unwritten = 0
        while True:
            self._awake.wait()
            self._closing.wait(self._flush_seconds)
            # Before the buffer is emptied: what is put in from here on wakes the thread again.
            self._awake.clear()
            closing = self._closing.is_set()
            lines = [
                self._line(self._pending.popleft())
                for _ in range(min(len(self._pending), self._max_pending))
            ]
            if (dropped := self._dropped + unwritten) > told:
                lines.append(_json({"time": _clock(time.time()), "lines_dropped": dropped - told}))
                told = dropped
            try:
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except (OSError, ValueError) as error:
                if not unwritten:
                    logger.warning("the access log cannot be written: %s", error)
                unwritten += len(lines)
            if closing:
                return

    def _line(self, request: Request) -> bytes:
        """A request as a line of JSON."""
        queue = request.queue_seconds
        fields: dict[str, Any] = {
            "time": _clock(request.started_at),
            "request_id": request.request_id,
            "method": request.method,
            "path": request.path[:_LONGEST_PATH],
            "status": request.status,
            "ms": round(request.seconds * 1e3, 3),
            "reviews": request.reviews,
            "queue_ms": None if queue is None else round(queue * 1e3, 3),
            "model_version": self._model_version,
            "client": request.client,
        }
        if self._with_texts:
            fields["texts"] = None if request.texts is None else list(request.texts)
        return _json(fields)


class ObservedApp:
    """ASGI middleware: ids, the body limit, the count and the log of REST requests.

    To be put around the whole application, so that what it measures is what the client gets, its
    error pages included. An id that the client gives in `x-request-id` is kept where it is short
    and plain; the application sees the id in the request's headers, the client in the answer's.
    """

    def __init__(
        self,
        app: App,
        metrics: ServingMetrics,
        access_log: AccessLog | None = None,
        *,
        max_body_bytes: int,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Counts inference requests.
            access_log: Gets a line for each request but the probes; None logs nothing.
            max_body_bytes: A body that is longer is answered with status 400, unread.
        """
        self._app = app
        self._metrics = metrics
        self._log = access_log
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if method == "GET" and _is_quiet(path):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = length = transfer_encoding = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                transfer_encoding = value
        client = scope.get("client")
        request = Request(
            _taken_or_made(scope, request_id), method, path, client and client[0], time.time()
        )
        current_request.set(request)
        header = (b"x-request-id", request.request_id.encode("ascii"))
        finished = 0.0

        async def observed_send(message: Message) -> None:
            nonlocal finished
            kind = message["type"]
            if kind == "http.response.start":
                request.status = request.status or message["status"]
                message["headers"] = [*message.get("headers", ()), header]
                await send(message)
            else:
                await send(message)
                if kind == "http.response.body" and not message.get("more_body", False):
                    finished = time.perf_counter()

        async def observed_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not request.status:
                request.status = CLIENT_LEFT
            return message

        limit = self._max_body_bytes
        try:
            if transfer_encoding is not None:
                body, size = await _read_body(observed_receive, limit)
                if body is not None:
                    await self._app(scope, _once(body, observed_receive), observed_send)
                elif size:
                    await _refuse(observed_send, size, limit)
            elif length is not None and int(length) > limit:
                # Unread: the HTTP parser lets no more through than the header says.
                await _refuse(observed_send, int(length), limit)
            else:
                await self._app(scope, observed_receive, observed_send)
        finally:
            if not finished:
                # No whole answer: the server failed, or the client has left.
                finished = time.perf_counter()
                if request.status != CLIENT_LEFT:
                    request.status = 500
            request.seconds = finished - started
            if method == "POST" and (protocol := _protocol_of(path)):
                self._metrics.answered(protocol, request.status, request.seconds)
            if self._log is not None:
                self._log.write(request)


class ObservedCalls(grpc.aio.ServerInterceptor):
    """The same for gRPC; the first interceptor of a server, so that it sees the final status.

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
            request_id = given.get(REQUEST_ID)
            if not isinstance(request_id, str) or not _SAFE_ID.fullmatch(request_id):
                request_id = uuid.uuid4().hex
            request = Request(request_id, "gRPC", method, _host_of(context.peer()), time.time())
            current_request.set(request)
            context.set_trailing_metadata((_Metadatum(REQUEST_ID, request_id),))
            try:
                response = await answer(message, context)
                request.status = _STATUS_OF_NUMBER.get(int(_number(context.code())), 500)
                return response
            except grpc.aio.AbortError:
                request.status = _STATUS_OF_NUMBER.get(int(_number(context.code())), 500)
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


def _number(code: Any) -> int:
    """A gRPC status as its number; no status is success."""
    if code is None:
        return 0
    return code.value[0] if isinstance(code, grpc.StatusCode) else code


def _host_of(peer: str | None) -> str | None:
    """Address without its port from gRPC's `ipv4:10.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    if not peer or not peer.startswith(("ipv4:", "ipv6:")):
        return peer
    host = peer[5:].rpartition(":")[0]
    return host.removeprefix("%5B").removesuffix("%5D").removeprefix("[").removesuffix("]")


def _is_quiet(path: str) -> bool:
    """Whether a GET of this path is a probe or a scrape."""
    if path in _QUIET_PATHS or path.endswith("/ready"):
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


def _taken_or_made(scope: MutableMapping[str, Any], given: bytes | None) -> str:
    """The client's request id where it may stand in headers and logs, else a new one.

    A new one is put in the scope's headers, where the application looks for it.
    """
    if given is not None:
        text = given.decode("latin-1")
        if _SAFE_ID.fullmatch(text):
            return text
    made = uuid.uuid4().hex
    kept = [header for header in scope["headers"] if header[0] != b"x-request-id"]
    scope["headers"] = [*kept, (b"x-request-id", made.encode("ascii"))]
    return made


async def _read_body(receive: Receive, limit: int) -> tuple[bytes | None, int]:
    """Read a body whose length is not known.

    Past the limit it is read on but not kept, up to a multiple of it: a client that has sent all
    it has is sure to read the answer.

    Returns:
        The body (None where the client left or it is longer than the limit) and its size.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None, 0
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body", False) or size > _PATIENCE * limit:
            return (b"".join(chunks) if size <= limit else None), size


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body first, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, size: int, limit: int) -> None:
    """Answer a request whose body is too long.

    The connection is kept: the server reads the rest and throws it away, so that the client, who
    may read no answer before it has sent all, finds the reason and not a reset. Only a body beyond
    all measure is cut off.
    """
    reason = (
        f"the body has {size} bytes or more, and this server reads {limit}; "
        "send fewer reviews in a request"
    )
    content = orjson.dumps({"error": reason})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode("ascii")),
    ]
    if size > _PATIENCE * limit:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _standard_output() -> BinaryIO:
    """Standard output under a handle of its own.

    A thread that is killed at exit while it writes to `sys.stdout` would take the interpreter down
    with it, which wants to flush it then.
    """
    return os.fdopen(os.dup(sys.stdout.fileno()), "wb")


def _clock(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _json(fields: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # Lone surrogates have no UTF-8; the standard library escapes them.
        return json.dumps(fields).encode("ascii") + b"\n"
