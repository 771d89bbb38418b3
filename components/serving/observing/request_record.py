"""What is known of a request while it is answered, and how the model finds it."""

import re
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = "x-request-id"
"""Header (metadata key in gRPC) that carries a request's id, in and out."""

CLIENT_LEFT = 499
"""Status of a request whose client went away before its answer (nginx's number for it)."""

_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request, completed on its way; its line in the log is made from it.

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


current_request: ContextVar[RequestRecord | None] = ContextVar("current_request", default=None)
"""The request that the running task answers; None outside of one."""


def taken_or_made(given: str | None) -> str:
    """The id that the client gave where it may stand in headers and logs, else a new one."""
    if given is not None and _SAFE_ID.fullmatch(given):
        return given
    return uuid.uuid4().hex
