"""The OpenAPI document of the server: what each endpoint takes and answers, for this very model.

FastAPI would make one of KServe's signatures, which say nothing of what the model reads, and name
a status (422) that no client gets.
"""

from collections.abc import Mapping
from typing import Any

from kserve.protocol.rest import v2_datamodels as of_kserve
from pydantic.json_schema import models_json_schema

from components.serving.server.protocol import (
    MAX_CHARACTERS,
    MAX_EXPLAINED,
    MAX_KEY_CHARACTERS,
    MAX_REVIEWS,
    V2_INPUTS,
    V2_OUTPUTS,
)

_REF = "#/components/schemas/"
_TEXT = {"type": ["string", "null"], "maxLength": MAX_CHARACTERS}
_STRING = {"type": "string"}
_KEY = {"type": ["string", "null"], "maxLength": MAX_KEY_CHARACTERS}
_PARAMETERS = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_ANSWERS = (
    of_kserve.ServerLiveResponse,
    of_kserve.ServerReadyResponse,
    of_kserve.ServerMetadataResponse,
    of_kserve.ListModelsResponse,
    of_kserve.ModelMetadataResponse,
    of_kserve.ModelReadyResponse,
    of_kserve.InferenceResponse,
)


def openapi_document(
    name: str,
    version: str,
    class_names: tuple[str, ...],
    *,
    page: bool,
    explains: bool = False,
) -> dict[str, Any]:
    """The document, as OpenAPI 3.1."""
    _, models = models_json_schema(
        [(answer, "serialization") for answer in _ANSWERS], ref_template=_REF + "{model}"
    )
    schemas = models["$defs"] | {
        "Error": _object({"error": _STRING}),
        "Alive": _object({"status": {"const": "alive"}}),
        "V1Request": _V1_REQUEST,
        "V1Response": _object({"predictions": _list(_prediction(name, class_names))}),
        "V2Request": _V2_REQUEST,
    }
    model, of_version = "/models/{model_name}", "/models/{model_name}/versions/{model_version}"
    infer = {
        "parameters": [_HEAD_SIZE],
        "requestBody": _body("V2Request") | {"description": "JSON, or JSON and binary tensors"},
    }
    described = {
        "/": {"get": _get("Alive", "The server is alive" + "; a page for a browser" * page)},
        "/metrics": {"get": {"summary": "Prometheus metrics", "responses": _METRICS}},
        "/v1/models": {"get": _get("ListModelsResponse", "Names of the models")},
        f"/v1{model}": {"get": _get("ModelReadyResponse", "Whether the model is ready")},
        f"/v1{model}:predict": {
            "post": {
                "summary": "Sentiment of each review, KServe's protocol v1",
                "requestBody": _body("V1Request"),
                "responses": _answers("V1Response"),
            }
        },
        "/v2": {"get": _get("ServerMetadataResponse", "About the server")},
        "/v2/health/live": {"get": _get("ServerLiveResponse", "Whether the server lives")},
        "/v2/health/ready": {"get": _get("ServerReadyResponse", "Whether the server is ready")},
        "/v2/models": {"get": _get("ListModelsResponse", "Names of the models")},
    }
    for place in (f"/v2{model}", f"/v2{of_version}"):
        described |= {
            place: {"get": _get("ModelMetadataResponse", "The model's tensors, version, engine")},
            f"{place}/ready": {"get": _get("ModelReadyResponse", "Whether the model is ready")},
            f"{place}/infer": {
                "post": infer
                | {
                    "summary": "Sentiment of each review, Open Inference Protocol (v2)",
                    "responses": _answers("InferenceResponse", binary=True),
                }
            },
        }
    if explains:
        schemas["V1Explanations"] = _object(
            {"explanations": _list(_explanation(name, class_names))}
        )
        described[f"/v1{model}:explain"] = {
            "post": {
                "summary": f"The same with what each word adds; {MAX_EXPLAINED} reviews at most",
                "requestBody": _body("V1Request"),
                "responses": _answers("V1Explanations"),
            }
        }
    if page:
        content = described["/"]["get"]["responses"]["200"]["content"]
        content["text/html"] = {"schema": _STRING}
    known = {"model_name": name} | ({"model_version": version} if version else {})
    for path, operations in described.items():
        named = [one for one in ("model_name", "model_version") if f"{{{one}}}" in path]
        if named:
            operations["parameters"] = [_in_path(one, known.get(one)) for one in named]
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{name}: sentiment of reviews", "version": version or "none"},
        "paths": described,
        "components": {"schemas": schemas},
    }


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """An object of these properties, all of which it has but the optional ones."""
    required = [one for one in properties if one not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def _list(items: Any, **bounds: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **bounds}


def _prediction(name: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    probabilities = _object(dict.fromkeys(class_names, share)) | {"additionalProperties": False}
    return _object(
        {
            "label": {"enum": list(class_names)},
            "label_id": {"type": "integer", "minimum": 0, "maximum": len(class_names) - 1},
            "probabilities": probabilities,
            "truncated": {"type": "boolean"},
            "model_name": {"const": name},
            "model_version": _STRING,
        }
    )


def _explanation(name: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    number = {"type": "number"}
    word = _object({"word": _STRING, "attribution": number, "joined": {"const": True}}, "joined")
    answer = _prediction(name, class_names)
    added = {
        "words": _list(word),
        "difference": number,
        "completeness_error": number,
        "method": _STRING,
    }
    return _object(answer["properties"] | added)


def _in_path(name: str, value: str | None) -> dict[str, Any]:
    schema = _STRING if value is None else {"type": "string", "enum": [value]}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF + schema}}}


def _body(schema: str) -> dict[str, Any]:
    return {"required": True, "content": _json(schema)}


def _answers(schema: str, *, binary: bool = False) -> dict[str, Any]:
    """What may be answered; all but the first says why in words."""
    content = _json(schema)
    if binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    after = {
        "Retry-After": {"schema": {"type": "integer"}, "description": "seconds; if it is full"}
    }
    wrong = {"content": _json("Error")}
    return {
        "200": {"description": "The answer", "content": content},
        "4XX": {"description": "What is wrong with the request"} | wrong,
        "503": {"description": "Not ready, or too much to do", "headers": after} | wrong,
    }


def _get(schema: str, summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(schema)}


_METRICS = {
    "200": {
        "description": "In the format that the Accept header asks for",
        "content": {"text/plain": {"schema": _STRING}},
    }
}
_HEAD_SIZE = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Size of the JSON where binary tensors follow it",
    "schema": {"type": "integer", "minimum": 0},
}
_INSTANCE = {
    "title": _TEXT,
    "review_body": _TEXT,
    "review_id": _KEY
    | {"description": "goes to the payload log; without a text, the feature store is asked for it"},
    "product_category": _KEY | {"description": "goes to the payload log"},
}
_V1_REQUEST = _object(
    {
        "instances": _list(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS},
                    _object(_INSTANCE, *_INSTANCE) | {"additionalProperties": False},
                ]
            },
            minItems=1,
            maxItems=MAX_REVIEWS,
        )
    }
)
_V2_TENSOR = _object(
    {
        "name": {"enum": [tensor["name"] for tensor in V2_INPUTS]},
        "datatype": {"const": "BYTES"},
        "shape": _list({"type": "integer", "minimum": 1}, minItems=1, maxItems=2),
        "parameters": _PARAMETERS,
        "data": _list({"anyOf": [_STRING, _list(_STRING, minItems=1, maxItems=1)]}),
    },
    "parameters",
)
_V2_REQUEST = _object(
    {
        "id": {"type": ["string", "null"]},
        "parameters": _PARAMETERS,
        "inputs": _list(_V2_TENSOR, minItems=1, maxItems=len(V2_INPUTS)),
        "outputs": {
            "type": ["array", "null"],
            "items": _object(
                {
                    "name": {"enum": [tensor["name"] for tensor in V2_OUTPUTS]},
                    "parameters": _PARAMETERS,
                },
                "parameters",
            ),
        },
    },
    *("id", "parameters", "outputs"),
)
