"""The REST application: KServe's data plane and endpoints around a model, used as a library.

KServe's own inference endpoints lead through FastAPI's validation of body and answer, which is done
once more behind it. Ours take their place, straight from the body to the data plane; metadata,
readiness and all else are KServe's. Endpoints that name a version, which KServe answers with 501,
are there too.
"""

import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from grpc_interceptor.exceptions import GrpcException
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from components.serving.server.data_plane import ClosedRepository, ForgivingDataPlane, in_words
from components.serving.server.described import openapi_document
from components.serving.server.page import page_of

logger = logging.getLogger(__name__)

JSON = "application/json"
BINARY = "application/octet-stream"


class SwitchedOff(Exception):  # noqa: N818 (what it says is what the endpoint is)
    """An endpoint that the server has only where its option says so."""


_STATUS: Mapping[type[Exception], int] = {
    RequestValidationError: 400,  # Like all else that the client did wrong; FastAPI says 422.
    InvalidInput: 400,
    ModelNotFound: 404,
    SwitchedOff: 404,
    ClientDisconnect: 499,  # Nobody reads it.
    NotImplementedError: 501,
    ModelNotReady: 503,
    GrpcException: 503,
    Exception: 500,
}
"""HTTP status of each error; of those that fit, the first."""

_CUT_OFF = 10
"""A body of so many times the limit is cut off, not read to its end."""


class BodyTooLong(InvalidInput):
    """A body that is longer than the server reads."""

    def __init__(self, size: int, limit: int) -> None:
        """Say so; a body of so many times the limit ends the connection, too."""
        super().__init__(
            f"the body has {size} bytes or more, and this server reads {limit}; "
            "send fewer reviews in a request"
        )
        self.headers = {"Connection": "close"} if size > _CUT_OFF * limit else None


def rest_application(
    data_plane: ForgivingDataPlane,
    max_body_bytes: int,
    *,
    page: bool = False,
    explains: bool = False,
) -> FastAPI:
    """The endpoints of v1, v2, metrics and the OpenAPI description, with errors in words.

    With a page to try the model on at `/` for browsers; all others find there that the server is
    alive, as they do at any server of KServe's. `explains` says whether the model does.
    """
    model = data_plane.model
    page_there = None
    if page:
        page_there = page_of(model.name, model.version, model.class_names, explains=explains)

    async def infer(request: Request, protocol: str, verb: str = "infer") -> Response:
        name = await checked(request)
        headers = dict(request.headers)
        body = await _body(request, max_body_bytes)
        question, attributes = data_plane.decode(body, headers, protocol, name)
        answer, answer_headers = await getattr(data_plane, verb)(name, question, headers)
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
        if not explains:
            raise SwitchedOff(
                "this server explains no answers; start it with --explain (on a cluster, among the "
                "rollout's server_arguments, with an image that has the extra `explaining`)"
            )
        return await infer(request, "v1", "explain")

    async def metadata(request: Request) -> Response:
        name = await checked(request)
        return Response(orjson.dumps(await data_plane.model_metadata(name)), media_type=JSON)

    async def ready(request: Request) -> Response:
        name = await checked(request)
        return Response(orjson.dumps({"name": name, "ready": True}), media_type=JSON)

    async def home(request: Request) -> Response:
        if page_there and "text/html" in request.headers.get("accept", ""):
            return page_there
        alive = orjson.dumps(await data_plane.live())
        return Response(alive, media_type=JSON, headers={"Vary": "Accept"})

    of_version = "/v2/models/{model_name}/versions/{model_version}"
    app = FastAPI(
        title="KServe ModelServer",
        version=data_plane.metadata()["version"],
        docs_url=None,
        redoc_url=None,
        routes=[  # The first route that matches answers: these before KServe's.
            Route("/", home, methods=["GET"]),
            Route("/v1/models/{model_name}:predict", v1, methods=["POST"]),
            Route("/v1/models/{model_name}:explain", explain, methods=["POST"]),
            Route("/v2/models/{model_name}/infer", v2, methods=["POST"]),
            Route(f"{of_version}/infer", v2, methods=["POST"]),
            Route(of_version, metadata, methods=["GET"]),
            Route(f"{of_version}/ready", ready, methods=["GET"]),
        ],
    )
    app.add_api_route("/metrics", metrics_handler, methods=["GET"])
    repository = ClosedRepository(data_plane.model_registry)
    register_v1_endpoints(app, data_plane, repository)
    register_v2_endpoints(app, data_plane, repository)
    names = tuple(model.class_names)
    document = openapi_document(model.name, model.version, names, page=page, explains=explains)
    app.openapi = lambda: document  # type: ignore[method-assign]
    for kind in _STATUS:
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(HTTPException, _answer_wrong_door)
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


async def _answer_error(_: Request, error: Exception) -> Response:
    """The status of an error, the reason in words, and where the queue is full, when to return."""
    kind, status = next(item for item in _STATUS.items() if isinstance(error, item[0]))
    headers, reason = getattr(error, "headers", None), str(error)
    if kind is RequestValidationError:
        reason = in_words(error.errors())
    elif kind is GrpcException:  # `sentiment_model.Refusal`
        headers, reason = {"Retry-After": str(error.retry_after)}, error.details
    elif kind is Exception:
        logger.error("a request failed", exc_info=error)
        reason = f"{type(error).__name__} : {error}"
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


async def _answer_wrong_door(request: Request, error: Exception) -> Response:
    """Nothing there, or nothing that answers this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for no other
    path, headers = request.url.path, error.headers
    if error.status_code == 405:
        allowed = (headers or {}).get("Allow", "another method")
        reason = f"{request.method} is not answered at {path}; send {allowed}"
    elif error.status_code == 404:
        reason = f"there is nothing at {path}; GET /openapi.json says what there is"
    else:
        reason = error.detail
    return JSONResponse({"error": reason}, status_code=error.status_code, headers=headers)
