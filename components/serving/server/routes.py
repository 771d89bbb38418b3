"""The inference routes of REST, straight from the body to KServe's data plane.

KServe's own routes lead through FastAPI's validation of body and answer, which is done once more
behind it. These take their place; decoding, model and errors are KServe's as before. Routes that
name a version, which KServe answers with 501, are there too.
"""

import orjson
from fastapi import FastAPI
from kserve.errors import ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

JSON = "application/json"
BINARY = "application/octet-stream"


def add_inference_routes(app: FastAPI, data_plane: DataPlane) -> None:
    """Put the routes before those that KServe registers.

    Args:
        app: KServe's application.
        data_plane: Decodes, infers and encodes.
    """

    async def answer(request: Request, protocol: str) -> Response:
        name = request.path_params["model_name"]
        _check_version(data_plane, name, request.path_params.get("model_version"))
        if not await data_plane.model_ready(name, disable_predictor_health_check=True):
            raise ModelNotReady(name)
        headers = dict(request.headers)
        question, attributes = data_plane.decode(
            await request.body(), headers, protocol_version=protocol, model_name=name
        )
        found, told = await data_plane.infer(name, question, headers)
        content, encoded = data_plane.encode(name, found, headers, attributes)
        told = {**told, **encoded}
        told.pop("content-length", None)
        is_binary = isinstance(content, bytes)
        return Response(
            content if is_binary else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY),
            headers=told,
            media_type=told.get("content-type", BINARY if is_binary else JSON),
        )

    async def v1(request: Request) -> Response:
        return await answer(request, "v1")

    async def v2(request: Request) -> Response:
        return await answer(request, "v2")

    async def metadata(request: Request) -> Response:
        name = request.path_params["model_name"]
        _check_version(data_plane, name, request.path_params["model_version"])
        return Response(orjson.dumps(await data_plane.model_metadata(name)), media_type=JSON)

    async def ready(request: Request) -> Response:
        name = request.path_params["model_name"]
        _check_version(data_plane, name, request.path_params["model_version"])
        if not await data_plane.model_ready(name):
            raise ModelNotReady(name)
        return Response(orjson.dumps({"name": name, "ready": True}), media_type=JSON)

    of_version = "/v2/models/{model_name}/versions/{model_version}"
    app.router.routes[:0] = [
        Route("/v1/models/{model_name}:predict", v1, methods=["POST"]),
        Route("/v2/models/{model_name}/infer", v2, methods=["POST"]),
        Route(f"{of_version}/infer", v2, methods=["POST"]),
        Route(of_version, metadata, methods=["GET"]),
        Route(f"{of_version}/ready", ready, methods=["GET"]),
    ]


def _check_version(data_plane: DataPlane, model_name: str, version: str | None) -> None:
    """Refuse a version in the URL that is not the one served."""
    if version is None:
        return
    served = getattr(data_plane.get_model_from_registry(model_name), "version", "")
    if version != served:
        raise ModelNotFound(f"{model_name} version {version}, where {served or 'none'} is served,")
