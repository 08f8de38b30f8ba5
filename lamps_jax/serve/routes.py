"""The routes of the OpenAI API, and what operators look at."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

import lamps_jax
from lamps_jax.serve.account import account_of
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.bodies.session import MAX_NAME_CHARS
from lamps_jax.serve.bodies.tokens import DetokenizeBody, TokenizeBody
from lamps_jax.serve.deadline import deadline_error
from lamps_jax.serve.encoding import Encoder, as_json, detokenize, length_of, tokenize
from lamps_jax.serve.limits import check_bounds
from lamps_jax.serve.metrics import CONTENT_TYPE
from lamps_jax.serve.openapi import document
from lamps_jax.serve.preparation import Asker, Preparation
from lamps_jax.serve.protocol import Body, RequestError, refuse, take_body
from lamps_jax.serve.replies.reply import Json
from lamps_jax.serve.respond import respond
from lamps_jax.serve.state import ServerState
from lamps_jax.serve.submission import submit

EMBEDDED_NAME = "embedded"
"""A name under which whatever model is served may be asked for."""


def api_routes(state: ServerState, *, model_name: str) -> APIRouter:
    """All of them, for a model that goes by `model_name`."""
    router, endpoints = APIRouter(), _Endpoints(state, model_name)
    router.add_api_route("/health", endpoints.health, methods=["GET", "HEAD"])
    router.add_api_route("/metrics", endpoints.metrics, methods=["GET"])
    router.add_api_route("/version", endpoints.version, methods=["GET"])
    router.add_api_route("/openapi.json", endpoints.openapi, methods=["GET"])
    router.add_api_route("/tokenize", endpoints.tokenize, methods=["POST"])
    router.add_api_route("/detokenize", endpoints.detokenize, methods=["POST"])
    router.add_api_route("/v1/models", endpoints.models, methods=["GET"])
    router.add_api_route("/v1/models/{name:path}", endpoints.model, methods=["GET"])
    router.add_api_route("/v1/completions", endpoints.completions, methods=["POST"])
    router.add_api_route("/v1/chat/completions", endpoints.chat_completions, methods=["POST"])
    return router


class _Endpoints:
    def __init__(self, state: ServerState, model_name: str):
        self._state, self._model_name, self._started_s = state, model_name, int(time.time())
        self._encoder = Encoder()
        self._preparation = Preparation(model_name, self._encoder)

    async def health(self) -> Response:
        return JSONResponse({"status": "ok", "kv": self._state.engine().memory_state()})

    async def metrics(self) -> Response:
        return Response(self._state.metrics.text(), media_type=CONTENT_TYPE)

    async def version(self) -> Response:
        return JSONResponse({"version": lamps_jax.__version__})

    async def openapi(self) -> Response:
        return JSONResponse(document())

    async def models(self) -> Response:
        return JSONResponse({"object": "list", "data": [self._model_card()]})

    async def model(self, name: str) -> Response:
        self._check_model(name)
        return JSONResponse(self._model_card())

    async def tokenize(self, request: Request) -> Response:
        body = await take_body(TokenizeBody, request)
        num_chars = length_of(body.messages or ()) + len(body.prompt or "")
        return await self._of_tokens(request, tokenize, body, num_chars)

    async def detokenize(self, request: Request) -> Response:
        body = await take_body(DetokenizeBody, request)
        return await self._of_tokens(request, detokenize, body, len(body.tokens))

    async def _of_tokens(self, request: Request, act: Callable[..., Json], body: Body, num_chars: int) -> Response:
        """What the tokenizer has to say, within the request's time; what takes longer ends for itself."""
        account, engine = account_of(request.scope), self._engine_for(body)

        async def answer() -> str:
            return await asyncio.to_thread(as_json, await self._encoder.run(act, engine, body, num_chars=num_chars))

        try:
            async with asyncio.timeout(account.remaining_s()):
                return Response(await asyncio.shield(answer()), media_type="application/json")
        except TimeoutError as error:
            assert account.timeout_s is not None, "otherwise there is time for ever"
            late = deadline_error(account.timeout_s)
            account.error_code = late.code
            raise late from error

    async def completions(self, request: Request) -> Response:
        body = await take_body(CompletionBody, request)
        self._check_bounds(body)
        engine = self._engine_for(body)
        prepared = await self._preparation.completion(engine, body, _asker(request))
        events = submit(request, engine, prepared.prompts, prepared.options, timeout_s=body.timeout_s, only_ends=not body.stream)
        return await respond(request, body, events, prepared.reply)

    async def chat_completions(self, request: Request) -> Response:
        body = await take_body(ChatBody, request)
        self._check_bounds(body)
        engine = self._engine_for(body)
        prepared = await self._preparation.chat(engine, body, _asker(request))
        events = submit(request, engine, prepared.prompts, prepared.options, timeout_s=body.timeout_s, only_ends=not body.stream)
        return await respond(request, body, events, prepared.reply)

    def _engine_for(self, body: Body) -> AsyncEngine:
        if body.model is not None:
            self._check_model(body.model)
        return self._state.engine()

    def _check_bounds(self, body: GenerationBody) -> None:
        check_bounds(body, self._state.config, num_tenants=len(set(self._state.keys.names)))

    def _check_model(self, name: str) -> None:
        if name not in (self._model_name, EMBEDDED_NAME):
            message = f"there is no model {name[:64]!r} here; this server serves {self._model_name!r}"
            raise RequestError(message, status=404, param="model", code="model_not_found")

    def _model_card(self) -> dict[str, Any]:
        return {
            "id": self._model_name,
            "object": "model",
            "created": self._started_s,
            "owned_by": "lamps-jax",
            "max_model_len": self._state.engine().max_model_len,
        }


def _asker(request: Request) -> Asker:
    session_id = request.headers.get("x-session-id")
    if session_id is not None and len(session_id) > MAX_NAME_CHARS:
        refuse(f"the header X-Session-Id may have {MAX_NAME_CHARS} characters, got {len(session_id)}; shorten it", "session_id")
    return Asker(account_of(request.scope).key_name, session_id)
