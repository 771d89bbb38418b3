"""KServe's decoding of requests, with the client's mistakes answered as such."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve.errors import InferenceError, InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.v2_datamodels import InferenceRequest
from pydantic import ValidationError


class ForgivingDataPlane(DataPlane):
    """KServe's decoding, with the client's mistakes answered by 400 and JSON taken as JSON."""

    def decode(
        self,
        body: Any,
        headers: Any,
        protocol_version: str = "v1",
        model_name: str | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Decode a request body; v2 JSON is read also where its content type is missing.

        Raises:
            InvalidInput: If the body cannot be decoded.
        """
        coding = headers.get("content-encoding", "identity") if headers else "identity"
        if coding != "identity":
            raise InvalidInput(f"the content-encoding {coding!r} is not read; send the body as is")
        try:
            if (
                protocol_version == "v2"
                and isinstance(body, bytes)
                and "inference-header-content-length" not in headers
            ):
                body = InferenceRequest.model_validate_json(body)
            return super().decode(body, headers, protocol_version, model_name)
        except InvalidInput:
            raise
        except ValidationError as error:
            raise InvalidInput(_in_words(error.errors())) from None
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
        model = self.get_model_from_registry(model_name)
        version = getattr(model, "version", "")
        engine = getattr(model, "engine_name", "")
        return {**metadata, "platform": engine, "versions": [version] if version else None}


class ClosedRepository(ModelRepositoryExtension):
    """KServe's load and unload, refused: anyone who reaches the server could end its service."""

    async def load(self, model_name: str) -> None:
        """Refuse.

        Raises:
            InvalidInput: Always.
        """
        raise InvalidInput("this server loads and unloads no models")

    unload = load


def _in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a v2 request, in one sentence."""
    error = errors[0]
    place = ".".join(
        str(part) for part in error["loc"] if part not in ("body", InferenceRequest.__name__)
    )
    return f"the request cannot be read: {place + ': ' if place else ''}{error['msg']}"


async def answer_unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
    """Status 400, like all else that the client did wrong, where FastAPI would say 422."""
    return JSONResponse({"error": _in_words(error.errors())}, status_code=400)
