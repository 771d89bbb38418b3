"""A connection that no client can hold, or fill, for ever.

uvicorn waits for a request as long as it takes, and keeps whatever head it is sent. Here a head has
a size, a number of headers and a time to come in; a body has a pace; an answer is taken or lost. A
client that breaks a rule is told which, where an answer would not be taken for another one's.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import orjson
from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class TooLargeError(Exception):
    """A head over its bounds; leaves httptools as the cause of its own error."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol over httptools, with bounds of size and time.

    Attributes:
        most_headers: Headers and trailers of a request. This bound and the next are Envoy's, which
            stands in front of the server on a cluster.
        most_head_bytes: The request line and all headers together.
        most_url_bytes: The path with its query.
        head_seconds: For a whole head, from its first byte or from the connection's start.
        body_seconds: A body that is not whole after so long has to bring `body_bytes` in every such
            span.
        body_bytes: The least of a body in `body_seconds`.
        take_seconds: For a client to go on reading answers that wait for it.
        linger_seconds: How long a client that was refused may go on sending, unread: a connection
            that is closed on unread bytes is reset, and the client never sees the reason.
    """

    most_headers = 100
    most_head_bytes = 60 * 1024
    most_url_bytes = 8 * 1024
    head_seconds = 20.0
    body_seconds = 20.0
    body_bytes = 160 * 1024
    take_seconds = 30.0
    linger_seconds = 2.0

    def __init__(self, *args: Any, **named: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **named)
        self._in_message = False
        self._refused = False
        self._refusal: tuple[int, str] | None = None
        self._head = 0  # bytes of the request line and the headers that the parser gave
        self._parsing = 0  # bytes that it got since it gave any
        self._body = 0  # bytes of the body in the running span
        self._data = b""
        self._waiting: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    # What asyncio calls
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait(self.head_seconds, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._wait(0, None)
        if self._taking is not None:
            self._taking.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the client was refused."""
        if self._refused:
            return
        if self._waiting is None and not self._in_message:
            self._wait(self.head_seconds, self._no_head)  # also for blank lines before a request
        self._data = data
        self._parsing = len(data) + self._parsing * self._in_message
        super().data_received(data)
        if self._parsing > self.most_head_bytes and not self._refused:
            self._refuse(*self._too_large())

    def pause_writing(self) -> None:
        """The client has to take what was written, or it is cut off."""
        super().pause_writing()
        self._taking = self.loop.call_later(self.take_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took it."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()

    # What the parser calls
    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_message = True
        self._head = 0
        if self._waiting is None:  # it came right after another one
            self._wait(self.head_seconds, self._no_head)

    def on_url(self, url: bytes) -> None:
        """Part of the path."""
        super().on_url(url)
        if len(self.url) > self.most_url_bytes:
            reason = f"the URL is longer than {self.most_url_bytes} bytes; send reviews in the body"
            self._refusal = 414, reason
            raise TooLargeError
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header, or trailer."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """The request starts; its body may still come."""
        self._body = self._parsing = 0
        if self._is_upgrade():
            return
        self._wait(self.body_seconds, self._slow_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._body += len(body)
        self._parsing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._is_upgrade():
            return
        super().on_message_complete()
        self._in_message = False
        self._parsing = 0
        self._wait(0, None)

    # What uvicorn calls
    def on_response_complete(self) -> None:
        """The answer is written; uvicorn's own time for the next request runs."""
        super().on_response_complete()
        if not self._in_message:
            self._wait(0, None)

    def _unsupported_upgrade_warning(self) -> None:
        """Read a request that offers another protocol as one that does not.

        Java's client offers HTTP/2 with whatever it sends, and httptools skips the body then.
        """
        offset = getattr(sys.exception(), "args", (len(self._data),))[0]
        lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        super().data_received(b"\r\n".join([*lines, b"", b""]) + self._data[offset:])

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not, or was told not to, read on."""
        status, reason = self._refusal or (
            400,
            f"this is not an HTTP/1.1 request: {_cause() or msg}",
        )
        self._refuse(status, reason)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that nothing came over."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.linger_seconds, self.transport.abort)  # it may read nothing

    def _is_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _count(self, size: int) -> None:
        """Bound the size of a head, which may come in one piece with its body."""
        self._head += size
        if self._head > self.most_head_bytes or len(self.headers) > self.most_headers:
            self._refusal = self._too_large()
            raise TooLargeError

    def _too_large(self) -> tuple[int, str]:
        return 431, (
            f"the request's head is larger than this server reads: {self.most_headers} headers, "
            f"{self.most_head_bytes} bytes in all"
        )

    def _wait(self, seconds: float, then: Callable[[], None] | None) -> None:
        """Do something in a while, instead of what was to be done before; or nothing."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = None if then is None else self.loop.call_later(seconds, then)

    def _no_head(self) -> None:
        """The time for a head is over."""
        if not self._in_message and self._is_answering():
            self._wait(self.head_seconds, self._no_head)  # the client waits for us
        else:
            what = f"the request's head did not come in whole within {self.head_seconds:g} s"
            self._refuse(408, what)

    def _slow_body(self) -> None:
        """A span of the time for a body is over."""
        if self._body >= self.body_bytes or self.flow.read_paused:  # paused by us
            self._body = 0
            self._wait(self.body_seconds, self._slow_body)
        else:
            what = f"less than {self.body_bytes} bytes of the body came in {self.body_seconds:g} s"
            self._refuse(408, what)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, reason: str) -> None:
        """Say why, and end the connection; an answer that is owed to an earlier request goes first.

        Nothing is said to a client that has asked nothing, or that is being answered already.
        """
        self._refused = True
        self._wait(0, None)
        if self._is_answering():
            if not self.cycle.more_body:  # the fault is in what came after it
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True  # its application shall not answer, too
            self.cycle.message_event.set()
        self.loop.call_later(self.linger_seconds, self.transport.abort)
        is_answered = (
            self.cycle is not None and self.cycle.more_body and self.cycle.response_started
        )
        if not self._in_message or is_answered:
            self.transport.close()
        elif not self.transport.is_closing():
            body = orjson.dumps({"error": reason})
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
            self.transport.write(b"%b%b%d\r\n\r\n%b" % (STATUS_LINE[status], head, len(body), body))
            self.flow.resume_reading()
            self.transport.write_eof()


def _cause() -> str:
    """What the parser says of a request that it is handling the error of."""
    error = sys.exception()
    return str(error.__context__ or error) if error else ""
