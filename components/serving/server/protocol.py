"""The two inference protocols: what a client may send, and what it gets back.

v1 is KServe's own (`instances`, `predictions`); v2 is the Open Inference Protocol (tensors). Both
are read into the same reviews and written from the same predictions. What a client does wrong is a
`UserError` that says where; the server answers it with status 400.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from components.shared.machine.errors import UserError
from components.shared.records.text import MAX_MARKS, has_too_many_marks, model_text

if TYPE_CHECKING:
    from kserve import InferRequest, InferResponse
    from kserve.protocol.infer_type import InferInput

    from components.serving.model.predictor import Predictions
    from components.shared.records.explanation import Explanation

MAX_REVIEWS = 1000
"""Most reviews in a request; more would hold the server for too long."""

MAX_EXPLAINED = 8
"""Most reviews in a request for explanations, each of which takes as long as a hundred answers."""

MAX_CHARACTERS = 100_000
"""Longest review; far more than any model reads."""

MAX_KEY_CHARACTERS = 1000
"""Longest review_id or product_category."""

V2_INPUTS: list[dict[str, Any]] = [
    {"name": name, "datatype": "BYTES", "shape": [-1]}
    for name in ("text", "title", "review_id", "product_category")
]
"""The tensors of a v2 request: `text`, with or without `title`; or `review_id` without `text`, for
reviews that the feature store holds. Beside a text, `review_id` and `product_category` go to the
payload log. All but `text`, and a `review_id` that stands for one, may hold empty texts."""

V2_OUTPUTS: list[dict[str, Any]] = [
    {"name": "label", "datatype": "BYTES", "shape": [-1]},
    {"name": "label_id", "datatype": "INT32", "shape": [-1]},
    {"name": "probabilities", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "model_version", "datatype": "BYTES", "shape": [-1]},
]
"""The tensors of a v2 answer. `label_id` is the class index, the column in `probabilities`, whose
second dimension is the number of classes."""

_INSTANCE_KEYS = ("title", "review_body", "review_id", "product_category")


class Review(NamedTuple):
    """A text that the model reads, '' where the feature store is to be asked for it by its key.

    Key and category are '' where the client gives none.
    """

    text: str
    review_id: str = ""
    product_category: str = ""


def reviews_of_v1(body: Any) -> list[Review]:
    """The reviews of a v1 request: `{"instances": [...]}`, decoded or as JSON bytes.

    Each instance is a text, or a mapping with `review_body`, `title` or both, or with `review_id`
    in place of a text. A mapping may say `review_id` and `product_category` of a text as well.
    Raises `UserError` for all else, and for blank texts.
    """
    if isinstance(body, bytes | str):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UserError(f"the request is not JSON ({error})") from None
    if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
        raise UserError('send {"instances": ["a review", ...]}')
    instances = body["instances"]
    _check_count(len(instances), "instances")
    return [
        _review_of_v1(instance, f"instances[{position}]")
        for position, instance in enumerate(instances)
    ]


def predictions_of_v1(
    predictions: "Predictions", model_name: str, model_version: str
) -> dict[str, Any]:
    """The v1 answer: one object for each instance, in the order asked."""
    return {
        "predictions": [
            {
                "label": label,
                "label_id": index,
                "probabilities": dict(zip(predictions.class_names, row, strict=True)),
                "truncated": truncated,
                "model_name": model_name,
                "model_version": model_version,
            }
            for label, index, row, truncated in zip(
                predictions.labels,
                predictions.classes.tolist(),
                predictions.probabilities.tolist(),
                predictions.truncated,
                strict=True,
            )
        ]
    }


def texts_to_explain(body: Any) -> list[str]:
    """The texts of a v1 request for explanations: as `reviews_of_v1`, but few, and no keys."""
    reviews = reviews_of_v1(body)
    if len(reviews) > MAX_EXPLAINED:
        raise UserError(
            f"instances holds {len(reviews)} reviews; ask for {MAX_EXPLAINED} explanations at a "
            "time at most"
        )
    for position, review in enumerate(reviews):
        if not review.text:
            raise UserError(
                f"instances[{position}] is a review_id; send the text that is to be explained"
            )
    return [review.text for review in reviews]


def explanations_of_v1(
    predictions: "Predictions",
    explained: "Sequence[Explanation]",
    model_name: str,
    model_version: str,
) -> dict[str, Any]:
    """The v1 answer to a request for explanations: the predictions, each with its words."""
    answers = predictions_of_v1(predictions, model_name, model_version)["predictions"]
    told = ("words", "difference", "completeness_error", "method")
    return {
        "explanations": [
            answer | {name: one.to_dict()[name] for name in told}
            for answer, one in zip(answers, explained, strict=True)
        ]
    }


def reviews_of_v2(request: "InferRequest") -> list[Review]:
    """The n reviews of a v2 request: the tensors of `V2_INPUTS` as BYTES [n] or [n, 1].

    Raises `UserError` if a tensor is missing, unknown, repeated, of another type or shape, or not
    UTF-8, and for blank texts.
    """
    known = [tensor["name"] for tensor in V2_INPUTS]
    tensors: dict[str, list[str]] = {}
    for tensor in request.inputs:
        if tensor.name not in known:
            raise UserError(f"there is no input {tensor.name!r}; send {' and '.join(known)}")
        if tensor.name in tensors:
            raise UserError(f"input {tensor.name!r} is given twice")
        tensors[tensor.name] = _texts_of_tensor(tensor)
    for output in request.request_outputs or []:
        names = [tensor["name"] for tensor in V2_OUTPUTS]
        if output.name not in names:
            raise UserError(f"there is no output {output.name!r}; ask for {', '.join(names)}")
    if "text" not in tensors and ("review_id" not in tensors or "title" in tensors):
        raise UserError("input 'text' is missing")
    leading = "text" if "text" in tensors else "review_id"
    count = len(tensors[leading])
    for name, values in tensors.items():
        if len(values) != count:
            raise UserError(
                f"input {name!r} holds {len(values)} texts, but input {leading!r} holds {count}"
            )
    nothing = [None] * count
    columns = (tensors.get(name, nothing) for name in known)
    return [
        _review(title, text, review_id, category, f"{leading}[{position}]")
        for position, (text, title, review_id, category) in enumerate(zip(*columns, strict=True))
    ]


def response_of_v2(
    predictions: "Predictions",
    request: "InferRequest",
    model_name: str,
    model_version: str,
    max_tokens: int,
) -> "InferResponse":
    """The v2 answer: the tensors of `V2_OUTPUTS`, or those of them that were asked for.

    Where reviews were cut, the parameter `truncated` holds their positions and `truncation` says by
    which rule.
    """
    from kserve import InferOutput, InferResponse

    labels = predictions.labels
    tensors = {
        "label": np.array(labels, dtype=np.object_),
        "label_id": predictions.classes.astype(np.int32),
        "probabilities": predictions.probabilities.astype(np.float32),
        "model_version": np.array([model_version] * len(labels), dtype=np.object_),
    }
    wanted = {output.name for output in request.request_outputs or []}
    outputs = []
    for described in V2_OUTPUTS:
        if wanted and described["name"] not in wanted:
            continue  # KServe leaves them out in REST, but not in gRPC.
        tensor = tensors[described["name"]]
        output = InferOutput(described["name"], list(tensor.shape), described["datatype"])
        output.set_data_from_numpy(tensor, binary_data=False)
        outputs.append(output)
    parameters = {"class_names": ",".join(predictions.class_names)}
    cut = [str(position) for position, was_cut in enumerate(predictions.truncated) if was_cut]
    if cut:
        parameters["truncated"] = ",".join(cut)
        parameters["truncation"] = f"the first {max_tokens} tokens are read"
    return InferResponse(
        response_id=request.id or str(uuid.uuid4()),
        model_name=model_name,
        model_version=model_version,
        infer_outputs=outputs,
        parameters=parameters,
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )


def _review_of_v1(instance: Any, place: str) -> Review:
    """The review of one instance of a v1 request."""
    if isinstance(instance, str):
        return Review(_text(None, instance, place))
    if not isinstance(instance, Mapping):
        raise UserError(f"{place} is neither a text nor an object with title and review_body")
    unknown = [key for key in instance if key not in _INSTANCE_KEYS]
    if unknown:
        raise UserError(
            f"{place} has the unknown key {unknown[0]!r}; give {', '.join(_INSTANCE_KEYS)}"
        )
    for key, value in instance.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"{place}.{key} is not a text")
    return _review(*map(instance.get, _INSTANCE_KEYS), place)


def _texts_of_tensor(tensor: "InferInput") -> list[str]:
    """The texts of a BYTES tensor of shape [n] or [n, 1]."""
    name = tensor.name
    if tensor.datatype != "BYTES":
        raise UserError(f"input {name!r} is {tensor.datatype}; send BYTES")
    try:
        shape = [int(size) for size in tensor.shape]
    except (TypeError, ValueError):  # A binary request's head is not validated before.
        raise UserError(f"input {name!r} has no shape; send [n] or [n, 1]") from None
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
    """Refuse requests without reviews, and with too many."""
    if count == 0:
        raise UserError(f"{name} is empty; send at least one review")
    if count > MAX_REVIEWS:
        raise UserError(f"{name} holds {count} reviews; send at most {MAX_REVIEWS} at a time")


def _review(
    title: str | None,
    review_body: str | None,
    review_id: str | None,
    product_category: str | None,
    place: str,
) -> Review:
    """The review that came in at `place`: a text, or where it has none, a key."""
    for name, value in (("review_id", review_id), ("product_category", product_category)):
        if value and len(value) > MAX_KEY_CHARACTERS:
            raise UserError(
                f"the {name} of {place} has {len(value)} characters; send at most "
                f"{MAX_KEY_CHARACTERS}"
            )
    is_key = review_id and title is None and review_body is None
    text = "" if is_key else _text(title, review_body, place)
    return Review(text, review_id or "", product_category or "")


def _text(title: str | None, review: str | None, place: str) -> str:
    """The text whose title and body came in at `place`."""
    for part in (title, review):
        if part and len(part) > MAX_CHARACTERS:
            raise UserError(f"{place} has {len(part)} characters; send at most {MAX_CHARACTERS}")
        if part and has_too_many_marks(part):
            raise UserError(f"{place} has more than {MAX_MARKS} combining marks in a row")
    text = model_text(title, review)
    if not text:
        raise UserError(f"{place} is blank; send a review")
    return text
