"""REST requests observed: each gets an id, is counted in the metrics and written into the log.

Only inference requests are counted; health probes and `/metrics` are neither counted nor logged.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from components.serving.observing.access_log import AccessLog
from components.serving.observing.metrics import ServingMetrics
from components.serving.observing.request_record import (
    CLIENT_LEFT,
    REQUEST_ID,
    RequestRecord,
    current_request,
    taken_or_made,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID_HEADER = REQUEST_ID.encode("ascii")
_QUIET_PATHS = frozenset({"/", "/metrics", "/v2/health/live", "/v2/health/ready"})
_PATIENCE = 10
"""A body of so many times the limit is cut off, not read to its end."""


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            if name == _ID_HEADER:
                request_id = value
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                transfer_encoding = value
        client = scope.get("client")
        request = RequestRecord(
            _identify(scope, request_id), method, path, client and client[0], time.time()
        )
        current_request.set(request)
        header = (_ID_HEADER, request.request_id.encode("ascii"))
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


def _identify(scope: Scope, given: bytes | None) -> str:
    """The id of a request; a new one is put in the scope's headers for the application to find."""
    text = None if given is None else given.decode("latin-1")
    request_id = taken_or_made(text)
    if request_id != text:
        kept = [header for header in scope["headers"] if header[0] != _ID_HEADER]
        scope["headers"] = [*kept, (_ID_HEADER, request_id.encode("ascii"))]
    return request_id


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
