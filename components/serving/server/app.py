"""The REST application: KServe's data plane and endpoints around a model, used as a library.

KServe's own inference endpoints lead through FastAPI's validation of body and answer, which is done
once more behind it. Ours take their place, straight from the body to the data plane; metadata,
readiness and all else are KServe's. Endpoints that name a version, which KServe answers with 501,
are there too.
"""

import logging
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from grpc_interceptor.exceptions import GrpcException
from kserve import Model, ModelRepository
from kserve.errors import InferenceError, InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from kserve.protocol.rest.v2_datamodels import InferenceRequest
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

logger = logging.getLogger(__name__)

JSON = "application/json"
BINARY = "application/octet-stream"

_STATUS: Mapping[type[Exception], int] = {
    RequestValidationError: 400,  # Like all else that the client did wrong; FastAPI says 422.
    InvalidInput: 400,
    ModelNotFound: 404,
    ClientDisconnect: 499,  # Nobody reads it.
    NotImplementedError: 501,
    ModelNotReady: 503,
    GrpcException: 503,
    Exception: 500,
}
"""HTTP status of each error; of those that fit, the first."""

_CUT_OFF = 10
"""A body of so many times the limit is cut off, not read to its end."""


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


class BodyTooLong(InvalidInput):
    """A body that is longer than the server reads."""

    def __init__(self, size: int, limit: int) -> None:
        """Say so; a body of so many times the limit ends the connection, too."""
        super().__init__(
            f"the body has {size} bytes or more, and this server reads {limit}; "
            "send fewer reviews in a request"
        )
        self.headers = {"Connection": "close"} if size > _CUT_OFF * limit else None


def rest_application(data_plane: ForgivingDataPlane, max_body_bytes: int) -> FastAPI:
    """The endpoints of v1, v2, metrics and the OpenAPI description, with errors in words."""

    async def infer(request: Request, protocol: str) -> Response:
        name = await checked(request)
        headers = dict(request.headers)
        body = await _body(request, max_body_bytes)
        question, attributes = data_plane.decode(body, headers, protocol, name)
        answer, answer_headers = await data_plane.infer(name, question, headers)
        content, encoding_headers = data_plane.encode(name, answer, headers, attributes)
        answer_headers |= encoding_headers
        answer_headers.pop("content-length", None)
        is_binary = isinstance(content, bytes)
        return Response(
            content if is_binary else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY),
            headers=answer_headers,
            media_type=answer_headers.get("content-type", BINARY if is_binary else JSON),
        )

    async def checked(request: Request) -> str:
        """Name of the model that the URL asks for, where it is served and ready."""
        name = request.path_params["model_name"]
        data_plane.check_version(name, request.path_params.get("model_version"))
        if not await data_plane.model_ready(name):
            raise ModelNotReady(name)
        return name

    async def v1(request: Request) -> Response:
        return await infer(request, "v1")

    async def v2(request: Request) -> Response:
        return await infer(request, "v2")

    async def explain(request: Request) -> Response:
        raise NotImplementedError("this server explains no predictions")

    async def metadata(request: Request) -> Response:
        name = await checked(request)
        return Response(orjson.dumps(await data_plane.model_metadata(name)), media_type=JSON)

    async def ready(request: Request) -> Response:
        name = await checked(request)
        return Response(orjson.dumps({"name": name, "ready": True}), media_type=JSON)

    of_version = "/v2/models/{model_name}/versions/{model_version}"
    app = FastAPI(
        title="KServe ModelServer",
        version=data_plane.metadata()["version"],
        docs_url=None,
        redoc_url=None,
        routes=[  # The first route that matches answers: these before KServe's.
            Route("/v1/models/{model_name}:predict", v1, methods=["POST"]),
            Route("/v1/models/{model_name}:explain", explain, methods=["POST"]),
            Route("/v2/models/{model_name}/infer", v2, methods=["POST"]),
            Route(f"{of_version}/infer", v2, methods=["POST"]),
            Route(of_version, metadata, methods=["GET"]),
            Route(f"{of_version}/ready", ready, methods=["GET"]),
        ],
    )
    app.add_api_route("/", data_plane.live)
    app.add_api_route("/metrics", metrics_handler, methods=["GET"])
    repository = ClosedRepository(data_plane.model_registry)
    register_v1_endpoints(app, data_plane, repository)
    register_v2_endpoints(app, data_plane, repository)
    for kind in _STATUS:
        app.add_exception_handler(kind, _answer_error)
    return app


async def _body(request: Request, limit: int) -> bytes:
    """The body of a request, or `BodyTooLong`.

    A body that says it is too long is not read: the HTTP parser lets no more through than it says.
    One of unknown length is read on but thrown away, up to a multiple of the limit. The client, who
    may read no answer before it has sent all, so finds the reason and not a reset.
    """
    size = int(request.headers.get("content-length", 0))
    if size > limit:
        raise BodyTooLong(size, limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > _CUT_OFF * limit:
            break
        else:
            chunks.clear()
    if size > limit:
        raise BodyTooLong(size, limit)
    return b"".join(chunks)


def _in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a v2 request, in one sentence."""
    error = errors[0]
    place = ".".join(
        str(part) for part in error["loc"] if part not in ("body", InferenceRequest.__name__)
    )
    return f"the request cannot be read: {place + ': ' if place else ''}{error['msg']}"


async def _answer_error(_: Request, error: Exception) -> Response:
    """The status of an error, the reason in words, and where the queue is full, when to return."""
    kind, status = next(item for item in _STATUS.items() if isinstance(error, item[0]))
    headers, reason = getattr(error, "headers", None), str(error)
    if kind is RequestValidationError:
        reason = _in_words(error.errors())
    elif kind is GrpcException:  # `sentiment_model.Refusal`
        headers, reason = {"Retry-After": str(error.retry_after)}, error.details
    elif kind is Exception:
        logger.error("a request failed", exc_info=error)
        reason = f"{type(error).__name__} : {error}"
    return JSONResponse({"error": reason}, status_code=status, headers=headers)
