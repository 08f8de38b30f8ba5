"""The description of the API, in OpenAPI 3.1, made of the bodies that requests and responses have."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import lamps_jax
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.bodies.session import MAX_NAME_CHARS
from lamps_jax.serve.bodies.tokens import DetokenizeBody, TokenizeBody
from lamps_jax.serve.metrics import CONTENT_TYPE
from lamps_jax.serve.replies import shapes

Json = dict[str, Any]

EVENT_STREAM = "text/event-stream"

REFUSALS = (401, 403, 405, 408, 429, 500, 503, 504)
"""What any request may be answered with."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route and method.

    Attributes:
        reply: Its response; None for text of `content_type`.
        body: Of its request, if it has one.
        refusals: With which statuses it may answer beside those that any may.
    """

    method: str
    path: str
    summary: str
    reply: type[BaseModel] | None
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    parameters: tuple[Mapping[str, Any], ...] = ()
    content_type: str = "application/json"
    streams: bool = False


_SESSION = {
    "name": "X-Session-Id",
    "in": "header",
    "description": "As the field session_id, which goes before it.",
    "schema": {"type": "string", "maxLength": MAX_NAME_CHARS},
}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_UNFIT = (400, 404, 413)

OPERATIONS = (
    Operation("get", "/health", "Whether requests are taken", shapes.Health),
    Operation("get", "/metrics", "For Prometheus", None, content_type=CONTENT_TYPE),
    Operation("get", "/version", "The version of the server", shapes.Version),
    Operation("get", "/v1/models", "The model that is served", shapes.ModelList),
    Operation("get", "/v1/models/{name}", "The model of that name", shapes.ModelCard, refusals=(404,), parameters=(_NAME,)),
    Operation("post", "/tokenize", "The tokens of a text", shapes.Tokens, TokenizeBody, _UNFIT),
    Operation("post", "/detokenize", "The text of tokens", shapes.Detokenized, DetokenizeBody, _UNFIT),
    Operation(
        "post", "/v1/completions", "Continues texts", shapes.Completion, CompletionBody, _UNFIT, (_SESSION,), streams=True
    ),
    Operation(
        "post", "/v1/chat/completions", "Continues a conversation", shapes.ChatCompletion, ChatBody, _UNFIT, (_SESSION,),
        streams=True,
    ),
)  # fmt: skip


@cache
def document() -> Json:
    """The whole description."""
    models = {model for operation in OPERATIONS for model in (operation.body, operation.reply) if model is not None}
    ordered = sorted({*models, shapes.Error}, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}")
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lamps-jax", "version": lamps_jax.__version__},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _described(operation: Operation) -> Json:
    described: Json = {"summary": operation.summary, "operationId": operation.path.strip("/").translate(_PLAIN)}
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(operation.body)}}}
    schema = {"type": "string"} if operation.reply is None else _reference(operation.reply)
    content: Json = {operation.content_type: {"schema": schema}}
    success = "OK"
    if operation.streams:
        content[EVENT_STREAM] = {}
        success = "The whole reply; or, for `stream`, server-sent events: chunks of it as JSON, and at last [DONE]"
    refused = {"application/json": {"schema": _reference(shapes.Error)}}
    refusals = {
        str(status): {"description": HTTPStatus(status).phrase, "content": refused}
        for status in sorted({*REFUSALS, *operation.refusals})
    }
    described["responses"] = {"200": {"description": success, "content": content}, **refusals}
    return described


_PLAIN = str.maketrans({"/": "_", ".": "_", "{": "", "}": ""})


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
