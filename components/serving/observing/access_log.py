"""A line of JSON for each request that was answered; never its texts."""

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson

logger = logging.getLogger(__name__)

_LONGEST_PATH = 256


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request, completed while it is answered; a line is made of it."""

    request_id: str  # Given by the client or made here.
    method: str  # HTTP method, or `gRPC`.
    path: str  # Path of the URL, or full name of the gRPC method.
    client: str | None  # Address, where known.
    started_at: float  # Seconds since 1970.
    status: int = 0  # HTTP status of the answer; 0 until it is known.
    seconds: float = 0.0  # From arrival to the last byte of the answer.
    queue_seconds: float | None = None  # Longest wait of its texts for a forward pass.
    reviews: int | None = None  # How many were predicted.


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
        max_pending: int = 10_000,
        flush_seconds: float = 0.2,
    ) -> None:
        """Start the thread, which collects lines for `flush_seconds` before it writes them.

        They go to standard output where no stream is given.
        """
        self._model_version = model_version
        # Standard output under a handle of its own: a thread that is killed at exit while it writes
        # to `sys.stdout` would take the interpreter down with it, which wants to flush it then.
        self._stream = stream or os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        self._max_pending = max_pending
        self._flush_seconds = flush_seconds
        self._pending: deque[RequestRecord] = deque()
        self._dropped = 0
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, request: RequestRecord) -> None:
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
        reported = unwritten = 0
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
            if (dropped := self._dropped + unwritten) > reported:
                now = _clock(time.time())
                lines.append(_json({"time": now, "lines_dropped": dropped - reported}))
                reported = dropped
            try:
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except (OSError, ValueError) as error:
                if not unwritten:
                    logger.warning("the access log cannot be written: %s", error)
                unwritten += len(lines)
            if closing:
                return

    def _line(self, request: RequestRecord) -> bytes:
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
        return _json(fields)


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
