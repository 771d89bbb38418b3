"""KServe's data plane around one model: what it takes for granted of a client is checked before.

KServe validates a v2 request that is JSON, but of a request with binary tensors, whose JSON is only
its head, it takes each field for what it should be.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from kserve import Model, ModelRepository
from kserve.errors import InferenceError, InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.v2_datamodels import InferenceRequest, RequestInput
from pydantic import ValidationError

_HEAD_SIZE = "inference-header-content-length"


class _BinaryInput(RequestInput):
    """A tensor whose texts come as JSON or behind the head."""

    data: list[Any] | None = None  # type: ignore[assignment]


class _BinaryHead(InferenceRequest):
    """The JSON that a request with binary tensors begins with."""

    inputs: list[_BinaryInput]  # type: ignore[assignment]


class ForgivingDataPlane(DataPlane):
    """KServe's data plane of one model; clients' mistakes get 400, and JSON is taken as JSON."""

    def __init__(self, model: Model) -> None:
        """Register the only model, which has a `version` and an `engine_name`."""
        repository = ModelRepository()
        repository.update(model)
        super().__init__(repository)
        self.model = model

    def decode(
        self, body: Any, headers: Any, protocol_version: str = "v1", model_name: str | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Decode a request body, v2 JSON without its content type too, or raise `InvalidInput`."""
        coding = headers.get("content-encoding", "identity") if headers else "identity"
        if coding != "identity":
            raise InvalidInput(f"the content-encoding {coding!r} is not read; send the body as is")
        try:
            if protocol_version == "v2" and isinstance(body, bytes):
                size = headers.get(_HEAD_SIZE)
                if size is None:
                    body = InferenceRequest.model_validate_json(body)
                else:
                    _check_binary(body, size)
            return super().decode(body, headers, protocol_version, model_name)
        except InvalidInput:
            raise
        except ValidationError as error:
            raise InvalidInput(in_words(error.errors())) from None
        except InferenceError:  # KServe makes text of binary tensors before we see them.
            raise InvalidInput("a binary tensor holds a text that is not UTF-8") from None
        except struct.error:
            raise InvalidInput("a binary tensor ends within a text") from None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InvalidInput(f"the request cannot be read: {reason}") from None

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """A model's metadata, with the version that it serves and the engine as its platform."""
        metadata = await super().model_metadata(model_name)
        version = self.model.version
        versions = [version] if version else None
        return {**metadata, "platform": self.model.engine_name, "versions": versions}

    def check_version(self, model_name: str, version: str | None) -> None:
        """Raise `ModelNotFound` for a version in the URL that is not the one served."""
        served = self.get_model_from_registry(model_name).version
        if version not in (None, served):
            raise ModelNotFound(
                f"{model_name} version {version}, where {served or 'none'} is served,"
            )


class ClosedRepository(ModelRepositoryExtension):
    """KServe's load and unload, refused: anyone who reaches the server could end its service."""

    async def load(self, model_name: str) -> None:
        """Refuse with `InvalidInput`."""
        raise InvalidInput("this server loads and unloads no models")

    unload = load


def _check_binary(body: bytes, head_size: str) -> None:
    """Raise `InvalidInput` or `ValidationError` unless head and tensors are what they say."""
    if not (head_size.isdecimal() and len(head_size) < 10 and int(head_size) <= len(body)):
        raise InvalidInput(
            f"{_HEAD_SIZE} is {head_size!r}, not the size of the JSON that the body begins with"
        )
    head = _BinaryHead.model_validate_json(body[: int(head_size)])
    announced = 0
    for tensor in head.inputs:
        if tensor.data is None:
            size = (tensor.parameters or {}).get("binary_data_size")
            if type(size) is not int or size < 0:
                raise InvalidInput(
                    f"input {tensor.name!r} has no data, and no binary_data_size in its parameters"
                )
            announced += size
    if announced != len(body) - int(head_size):
        raise InvalidInput(
            f"the tensors' binary_data_size add up to {announced} bytes, but "
            f"{len(body) - int(head_size)} follow the JSON"
        )


def in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a v2 request, in one sentence."""
    error = errors[0]
    where = [str(part) for part in error["loc"] if part != "body"]
    what = error["msg"]
    if "parameters" in where[:-1]:  # what follows the name is which type was tried
        where = where[: where.index("parameters") + 2]
        what = "Input should be a text, a number, true or false"
    return f"the request cannot be read: {'.'.join(where)}{': ' * bool(where)}{what}"
