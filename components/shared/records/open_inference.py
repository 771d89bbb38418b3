"""A review asked over the Open Inference Protocol v2, and what is read from an answer.

https://github.com/kserve/open-inference-protocol
"""

import json
import uuid
from typing import Any, NamedTuple

QUESTION = "question-"
"""Begins the request ids of the project's own questions to a server that serves: how a canary and
the stable version label reviews whose label is known. They are not traffic, and are left out where
the payload log is read."""


class AskedReview(NamedTuple):
    """A review as a client asks about it; what it does not say is empty."""

    title: str | None
    body: str
    review_id: str = ""
    product_category: str = ""


def question_header() -> dict[str, str]:
    """The header that marks a request as a question of the project's own."""
    return {"X-Request-Id": f"{QUESTION}{uuid.uuid4()}"}


def infer_path(model_name: str) -> str:
    """Path of a server that a model is asked at."""
    return f"/v2/models/{model_name}/infer"


def infer_request(
    title: str | None, body: str, review_id: str = "", product_category: str = ""
) -> dict[str, Any]:
    """The request for one review, JSON-ready; it says only what is known of the review."""
    others = (("title", title), ("review_id", review_id), ("product_category", product_category))
    named = [("text", body), *((name, value) for name, value in others if value)]
    text = {"datatype": "BYTES", "shape": [1]}
    return {"inputs": [{"name": name, **text, "data": [content]} for name, content in named]}


def values_in(content: bytes, output: str) -> list[Any]:
    """What the body of an answer gives for an output, such as `label`; empty if it is malformed."""
    try:
        for found in json.loads(content)["outputs"]:
            if found["name"] == output:
                return list(found["data"])
    except (ValueError, KeyError, TypeError):
        pass
    return []


def text_in(content: bytes, output: str) -> str:
    """The first value of an output as text; empty where there is none. See `values_in`."""
    return next(map(str, values_in(content, output)), "")
