"""The REST application: KServe's data plane and endpoints around a model, as a library.

KServe's own inference endpoints lead through FastAPI's validation of body and answer, which is done
once more behind it. Ours take their place, straight from the body to the data plane; metadata,
readiness and all else are KServe's. Endpoints that name a version, which KServe answers with 501,
are there too.
"""

import struct
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from grpc_interceptor.exceptions import GrpcException
from kserve import Model, ModelRepository, errors
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

JSON = "application/json"
BINARY = "application/octet-stream"

_CUT_OFF = 10
"""A body of so many times the limit is cut off, not read to its end."""


class ForgivingDataPlane(DataPlane):
    """KServe's data plane of one model; the client's mistakes get 400, and JSON is taken as JSON.

    Attributes:
        model: The only model, with its `version` and `engine_name`.
    """

    def __init__(self, model: Model) -> None:
        """Register the model."""
        repository = ModelRepository()
        repository.update(model)
        super().__init__(repository)
        self.model = model

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


def rest_application(data_plane: ForgivingDataPlane) -> FastAPI:
    """The endpoints of v1, v2, metrics and the OpenAPI description, with errors in words."""

    async def infer(request: Request, protocol: str) -> Response:
        name = await checked(request)
        headers = dict(request.headers)
        question, attributes = data_plane.decode(
            await request.body(), headers, protocol_version=protocol, model_name=name
        )
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
    for kind, handler in {
        RequestValidationError: _answer_unreadable,
        GrpcException: _answer_refusal,
        ClientDisconnect: _answer_nobody,
        InvalidInput: errors.invalid_input_handler,
        InferenceError: errors.inference_error_handler,
        ModelNotFound: errors.model_not_found_handler,
        ModelNotReady: errors.model_not_ready_handler,
        NotImplementedError: errors.not_implemented_error_handler,
        Exception: errors.generic_exception_handler,
    }.items():
        app.add_exception_handler(kind, handler)
    return app


def _in_words(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that is wrong with a v2 request, in one sentence."""
    error = errors[0]
    place = ".".join(
        str(part) for part in error["loc"] if part not in ("body", InferenceRequest.__name__)
    )
    return f"the request cannot be read: {place + ': ' if place else ''}{error['msg']}"


async def _answer_unreadable(_: Request, error: RequestValidationError) -> Response:
    """Status 400, like all else that the client did wrong, where FastAPI would say 422."""
    return JSONResponse({"error": _in_words(error.errors())}, status_code=400)


async def _answer_refusal(_: Request, refusal: GrpcException) -> Response:
    """Status 503, and when to come again (`sentiment_model.Refusal`)."""
    headers = {"Retry-After": str(refusal.retry_after)}
    return JSONResponse({"error": refusal.details}, status_code=503, headers=headers)


async def _answer_nobody(_: Request, error: ClientDisconnect) -> Response:
    """The client has left; nobody reads this."""
    return Response(status_code=499)


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class LimitedBody:
    """ASGI middleware: a body of more than `max_bytes` is answered with status 400, unread."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        """Wrap an application."""
        self._app = app
        self._limit = max_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        headers = dict(scope.get("headers", ()))
        length = headers.get(b"content-length")
        if b"transfer-encoding" in headers:
            body, size = await self._read(receive)
            if body is not None:
                await self._app(scope, _once(body, receive), send)
            elif size:
                await self._refuse(send, size)
        elif length is not None and int(length) > self._limit:
            # Unread: the HTTP parser lets no more through than the header says.
            await self._refuse(send, int(length))
        else:
            await self._app(scope, receive, send)

    async def _read(self, receive: Receive) -> tuple[bytes | None, int]:
        """Read a body of unknown length: the body (None where refused, or the client left), size.

        Past the limit it is read on but thrown away, up to a multiple of it: a client that has sent
        all it has is sure to read the answer.
        """
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None, 0
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self._limit:
                chunks.append(chunk)
            else:
                chunks.clear()
            if not message.get("more_body", False) or size > _CUT_OFF * self._limit:
                return (b"".join(chunks) if size <= self._limit else None), size

    async def _refuse(self, send: Send, size: int) -> None:
        """Answer a request whose body is too long.

        The connection stays: the server reads the rest and throws it away, so that the client, who
        may read no answer before it has sent all, finds the reason and not a reset. Only a body
        beyond all measure is cut off.
        """
        headers = {"connection": "close"} if size > _CUT_OFF * self._limit else None
        reason = (
            f"the body has {size} bytes or more, and this server reads {self._limit}; "
            "send fewer reviews in a request"
        )
        answer = JSONResponse({"error": reason}, status_code=400, headers=headers)
        await answer({"type": "http"}, None, send)


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body first, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
