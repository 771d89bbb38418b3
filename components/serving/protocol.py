"""The two inference protocols: what a client may send, and what it gets back.

v1 is KServe's own (`instances`, `predictions`); v2 is the Open Inference Protocol (tensors). Both
are read into the same texts and written from the same predictions. What a client does wrong is a
`UserError` that says where; the server answers it with status 400.
"""

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.errors import UserError
from components.contracts.labels import CLASS_NAMES
from components.contracts.text import model_text

if TYPE_CHECKING:
    from kserve import InferRequest, InferResponse
    from kserve.protocol.infer_type import InferInput

    from components.serving.predictor import Predictions

MAX_TEXTS = 1000
"""Most texts in a request; more would hold the server for too long."""

V2_INPUTS: list[dict[str, Any]] = [
    {"name": "text", "datatype": "BYTES", "shape": [-1]},
    {"name": "title", "datatype": "BYTES", "shape": [-1]},
]
"""The tensors of a v2 request. `title` may be left out, and may hold empty texts."""

V2_OUTPUTS: list[dict[str, Any]] = [
    {"name": "label", "datatype": "BYTES", "shape": [-1]},
    {"name": "label_id", "datatype": "INT32", "shape": [-1]},
    {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASS_NAMES)]},
    {"name": "model_version", "datatype": "BYTES", "shape": [-1]},
]
"""The tensors of a v2 answer. `label_id` is the class index, the column in `probabilities`."""

_INSTANCE_KEYS = ("title", "review_body")


def texts_of_v1(body: Any) -> list[str]:
    """The texts of a v1 request.

    Args:
        body: `{"instances": [...]}`, decoded or as JSON bytes; each instance is a text, or a
            mapping with `review_body`, `title` or both.

    Returns:
        What the model reads, one text for each instance.

    Raises:
        UserError: If the request is not of that form, or an instance is blank.
    """
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except ValueError as error:
            raise UserError(f"the request is not JSON ({error})") from None
    if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
        raise UserError('send {"instances": ["a review", ...]}')
    instances = body["instances"]
    _check_count(len(instances), "instances")
    texts = []
    for position, instance in enumerate(instances):
        place = f"instances[{position}]"
        if isinstance(instance, str):
            title, review = None, instance
        elif isinstance(instance, Mapping):
            title, review = _title_and_review(instance, place)
        else:
            raise UserError(f"{place} is neither a text nor an object with title and review_body")
        texts.append(_text(title, review, place))
    return texts


def predictions_of_v1(
    predictions: "Predictions", model_name: str, model_version: str
) -> dict[str, Any]:
    """The v1 answer: one object for each instance, in the order asked."""
    return {
        "predictions": [
            {
                "label": label,
                "label_id": int(index),
                "probabilities": {
                    name: float(value) for name, value in zip(CLASS_NAMES, row, strict=True)
                },
                "model_name": model_name,
                "model_version": model_version,
            }
            for label, index, row in zip(
                predictions.labels, predictions.classes, predictions.probabilities, strict=True
            )
        ]
    }


def texts_of_v2(request: "InferRequest") -> list[str]:
    """The texts of a v2 request.

    Args:
        request: With the tensor `text`, and `title` where there are titles; each BYTES of shape
            [n] or [n, 1], as JSON or binary data.

    Returns:
        What the model reads, n texts.

    Raises:
        UserError: If a tensor is missing, unknown, repeated, of another type or shape, not UTF-8,
            or if a text is blank.
    """
    known = [tensor["name"] for tensor in V2_INPUTS]
    tensors: dict[str, list[str]] = {}
    for tensor in request.inputs:
        if tensor.name not in known:
            raise UserError(f"there is no input {tensor.name!r}; send {' and '.join(known)}")
        if tensor.name in tensors:
            raise UserError(f"input {tensor.name!r} is given twice")
        tensors[tensor.name] = _texts_of_tensor(tensor)
    if "text" not in tensors:
        raise UserError("input 'text' is missing")
    bodies = tensors["text"]
    titles = tensors.get("title", [""] * len(bodies))
    if len(titles) != len(bodies):
        raise UserError(
            f"input 'title' holds {len(titles)} texts, but input 'text' holds {len(bodies)}"
        )
    for output in request.request_outputs or []:
        names = [tensor["name"] for tensor in V2_OUTPUTS]
        if output.name not in names:
            raise UserError(f"there is no output {output.name!r}; ask for {', '.join(names)}")
    return [
        _text(title, body, f"text[{position}]")
        for position, (title, body) in enumerate(zip(titles, bodies, strict=True))
    ]


def response_of_v2(
    predictions: "Predictions", request: "InferRequest", model_name: str, model_version: str
) -> "InferResponse":
    """The v2 answer: the tensors of `V2_OUTPUTS`, or those of them that were asked for."""
    from kserve import InferOutput, InferResponse

    n = len(predictions.classes)
    tensors = {
        "label": np.array(predictions.labels, dtype=np.object_),
        "label_id": predictions.classes.astype(np.int32),
        "probabilities": predictions.probabilities.astype(np.float32),
        "model_version": np.array([model_version] * n, dtype=np.object_),
    }
    outputs = []
    for described in V2_OUTPUTS:
        tensor = tensors[described["name"]]
        output = InferOutput(described["name"], list(tensor.shape), described["datatype"])
        output.set_data_from_numpy(tensor, binary_data=False)
        outputs.append(output)
    return InferResponse(
        response_id=request.id or str(uuid.uuid4()),
        model_name=model_name,
        model_version=model_version,
        infer_outputs=outputs,
        parameters={"class_names": ",".join(CLASS_NAMES)},
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )


def _title_and_review(instance: Mapping[str, Any], place: str) -> tuple[str | None, str | None]:
    """Title and review of a v1 object."""
    unknown = [key for key in instance if key not in _INSTANCE_KEYS]
    if unknown:
        raise UserError(
            f"{place} has the unknown key {unknown[0]!r}; give {' and '.join(_INSTANCE_KEYS)}"
        )
    for key, value in instance.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"{place}.{key} is not a text")
    return instance.get("title"), instance.get("review_body")


def _texts_of_tensor(tensor: "InferInput") -> list[str]:
    """The texts of a BYTES tensor of shape [n] or [n, 1]."""
    name = tensor.name
    if tensor.datatype != "BYTES":
        raise UserError(f"input {name!r} is {tensor.datatype}; send BYTES")
    shape = [int(size) for size in tensor.shape]
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] < 0:
        raise UserError(f"input {name!r} has shape {shape}; send [n] or [n, 1]")
    _check_count(shape[0], f"input {name!r}")
    try:
        elements = tensor.as_numpy().ravel().tolist()
    except Exception as error:  # Whatever the decoder says, the client's data did it.
        raise UserError(
            f"input {name!r} does not hold {shape[0]} texts as its shape says ({error})"
        ) from None
    texts = []
    for position, element in enumerate(elements):
        if isinstance(element, bytes):
            try:
                element = element.decode("utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{name}[{position}] is not UTF-8") from None
        if not isinstance(element, str):
            raise UserError(f"{name}[{position}] is not a text")
        texts.append(element)
    return texts


def _check_count(count: int, name: str) -> None:
    """Refuse requests without texts, and with too many."""
    if count == 0:
        raise UserError(f"{name} is empty; send at least one text")
    if count > MAX_TEXTS:
        raise UserError(f"{name} holds {count} texts; send at most {MAX_TEXTS} at a time")


def _text(title: str | None, review: str | None, place: str) -> str:
    """What the model reads of a title and a review that came in at `place`."""
    text = model_text(title, review)
    if not text:
        raise UserError(f"{place} is blank; send a review")
    return text
