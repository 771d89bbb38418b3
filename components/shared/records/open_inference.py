"""A review asked over the Open Inference Protocol v2, and what is read from an answer.

https://github.com/kserve/open-inference-protocol
"""

import json
from typing import Any


def infer_path(model_name: str) -> str:
    """Path of a server that a model is asked at."""
    return f"/v2/models/{model_name}/infer"


def infer_request(title: str | None, body: str) -> dict[str, Any]:
    """The request for one review, JSON-ready; it has a title only where the review has one."""
    named = [("text", body)] + ([("title", title)] if title else [])
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
