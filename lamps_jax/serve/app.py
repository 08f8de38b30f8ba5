"""The HTTP application: OpenAI-compatible routes, health, and the page to try the model."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import lamps_jax
from lamps_jax.engine.events import RequestOutput
from lamps_jax.engine.options import RequestOptions
from lamps_jax.models.chat import render_chat
from lamps_jax.sched.request import FinishReason
from lamps_jax.serve.async_engine import AsyncEngine, EngineUnavailable, IndexedEvent
from lamps_jax.serve.connection import ClientLeft, EventStreamResponse, RequestIdMiddleware, while_connected
from lamps_jax.serve.messages import template_messages
from lamps_jax.serve.metrics_endpoint import CONTENT_TYPE, ServerMetrics
from lamps_jax.serve.protocol import ChatBody, CompletionBody, GenerationBody, RequestError, check_size, parse_body
from lamps_jax.serve.replies import ChatReply, CompletionReply, Reply

PAGE = Path(__file__).parent / "web" / "index.html"

EMBEDDED_NAME = "embedded"
"""A name under which whatever model is served may be asked for."""

_CLIENT_CLOSED_REQUEST = 499


class Companion(Protocol):
    """Something that goes on beside the engine."""

    def stop(self) -> None:
        """Ends it; a second time does nothing."""
        ...


@dataclass(slots=True)
class ServerState:
    """What the application serves with; the engine comes when it has been loaded.

    Attributes:
        progress: What is being done before the engine is there.
        companions: What goes on beside the engine, and is stopped after it.
        metrics: What is counted.
    """

    async_engine: AsyncEngine | None = None
    progress: str = "loading"
    companions: list[Companion] = field(default_factory=list)
    metrics: ServerMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = ServerMetrics(lambda: None if self.async_engine is None else self.async_engine.memory_state())

    def stop(self) -> None:
        """Stops the engine, if it is there, and what goes on beside it; a second time does nothing."""
        for each in (self.async_engine, *self.companions):
            if each is not None:
                each.stop()

    def engine(self) -> AsyncEngine:
        """The engine, able to take requests.

        Raises:
            RequestError: If it is not there yet, or no more.
        """
        if self.async_engine is None:
            raise RequestError(f"the model is not ready: {self.progress}; try again soon", status=503, code="loading")
        if self.async_engine.failure is not None:
            raise RequestError(self.async_engine.failure, status=503, code="engine_unavailable")
        return self.async_engine


def create_app(state: ServerState, *, model_name: str) -> FastAPI:
    """The application that serves `state` under `model_name`, and stops it when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(state.stop)

    app = FastAPI(
        title="lamps-jax", version=lamps_jax.__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_middleware(RequestIdMiddleware)
    app.add_exception_handler(RequestError, _show_error)
    app.add_exception_handler(EngineUnavailable, _show_error)
    app.add_exception_handler(ClientDisconnect, _say_nothing)
    app.add_exception_handler(HTTPException, _show_error)
    app.add_exception_handler(Exception, _show_error)
    endpoints = _Endpoints(state, model_name)
    app.add_api_route("/", endpoints.page, methods=["GET"])
    app.add_api_route("/health", endpoints.health, methods=["GET", "HEAD"])
    app.add_api_route("/metrics", endpoints.metrics, methods=["GET"])
    app.add_api_route("/version", endpoints.version, methods=["GET"])
    app.add_api_route("/v1/models", endpoints.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", endpoints.model, methods=["GET"])
    app.add_api_route("/v1/completions", endpoints.completions, methods=["POST"])
    app.add_api_route("/v1/chat/completions", endpoints.chat_completions, methods=["POST"])
    return app


class _Endpoints:
    def __init__(self, state: ServerState, model_name: str):
        self._state, self._model_name, self._started_s = state, model_name, int(time.time())
        self._encoding = asyncio.Lock()

    async def page(self) -> Response:
        return HTMLResponse(PAGE.read_bytes())

    async def health(self) -> Response:
        return JSONResponse({"status": "ok", "kv": self._state.engine().memory_state()})

    async def metrics(self) -> Response:
        return Response(self._state.metrics.text(), media_type=CONTENT_TYPE)

    async def version(self) -> Response:
        return JSONResponse({"version": lamps_jax.__version__})

    async def models(self) -> Response:
        return JSONResponse({"object": "list", "data": [self._model_card()]})

    async def model(self, name: str) -> Response:
        self._check_model(name)
        return JSONResponse(self._model_card())

    async def completions(self, request: Request) -> Response:
        body = parse_body(CompletionBody, await read_body(request))
        engine = self._engine_for(body)
        prompts = []
        for prompt in body.prompts():
            token_ids = await self._off_the_loop(_encode, engine, prompt)
            _check_length(engine, token_ids, "prompt")
            prompts.append((token_ids, body.sampling(engine.default_temperature)))
        reply = CompletionReply(self._model_name, include_usage=body.include_usage)
        events = engine.generate(prompts, RequestOptions(cache_salt=body.cache_salt or "", hints=body.hints()))
        return await _respond(request, body, events, reply)

    async def chat_completions(self, request: Request) -> Response:
        body = parse_body(ChatBody, await read_body(request))
        engine = self._engine_for(body)
        client_tools = body.client_tools()
        token_ids = await self._off_the_loop(_encode_chat, engine, body)
        _check_length(engine, token_ids, "messages")
        prompt = token_ids, body.sampling(engine.default_temperature)
        options = RequestOptions(
            client_tools=client_tools,
            recognise_calls=body.recognise_calls,
            cache_salt=body.cache_salt or "",
            hints=body.hints(),
        )
        events = engine.generate([prompt], options)
        reply = ChatReply(self._model_name, client_tools=client_tools, include_usage=body.include_usage)
        return await _respond(request, body, events, reply)

    async def _off_the_loop(self, encode: Callable[..., list[int]], *arguments: Any) -> list[int]:
        """Encodes on a thread, one text at a time: a long one takes a while, and a tokenizer is not to be used twice at once."""
        async with self._encoding:
            return await asyncio.to_thread(encode, *arguments)

    def _engine_for(self, body: GenerationBody) -> AsyncEngine:
        if body.model is not None:
            self._check_model(body.model)
        return self._state.engine()

    def _check_model(self, name: str) -> None:
        if name not in (self._model_name, EMBEDDED_NAME):
            message = f"there is no model {name!r} here; this server serves {self._model_name!r}"
            raise RequestError(message, status=404, param="model", code="model_not_found")

    def _model_card(self) -> dict[str, Any]:
        return {
            "id": self._model_name,
            "object": "model",
            "created": self._started_s,
            "owned_by": "lamps-jax",
            "max_model_len": self._state.engine().max_model_len,
        }


def _encode(engine: AsyncEngine, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return engine.tokenizer.encode_prompt(prompt)
    if wrong := [token_id for token_id in prompt if not 0 <= token_id < engine.vocab_size]:
        raise RequestError(f"token ids must be between 0 and {engine.vocab_size - 1}, got {wrong[0]}", param="prompt")
    return prompt


def _encode_chat(engine: AsyncEngine, body: ChatBody) -> list[int]:
    tools = [{"type": "function", "function": tool.function.model_dump(exclude_none=True)} for tool in body.tools or []]
    try:
        return render_chat(engine.tokenizer, template_messages(body.messages), tools=tools if body.recognise_calls else ())
    except ValueError as error:
        raise RequestError(str(error), param="messages") from error


def _check_length(engine: AsyncEngine, token_ids: list[int], param: str) -> None:
    if not token_ids:
        raise RequestError(f"{param} has no tokens; give the model something to go on from", param=param)
    if len(token_ids) >= engine.max_model_len:
        raise RequestError(
            f"this model's context is {engine.max_model_len} tokens, of which at least one is for the answer; {param} has "
            f"{len(token_ids)}; shorten it",
            param=param,
            code="context_length_exceeded",
        )


async def read_body(request: Request) -> bytes:
    """The body of `request`, refused as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        check_size(len(body))
    return bytes(body)


async def _respond(request: Request, body: GenerationBody, events: AsyncGenerator[IndexedEvent, None], reply: Reply) -> Response:
    if body.stream:
        return EventStreamResponse(_server_sent(events, reply, include_usage=body.include_usage))
    try:
        outputs = await while_connected(request.receive, _collect(events))
    except ClientLeft:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    return JSONResponse(reply.whole(outputs))


async def _collect(events: AsyncGenerator[IndexedEvent, None]) -> list[RequestOutput]:
    """The outputs once all have finished, in the order of their prompts."""
    outputs: dict[int, RequestOutput] = {}
    async for index, event in _checked(events):
        if event.kind == "finished":
            outputs[index] = event.output
    return [outputs[index] for index in sorted(outputs)]


async def _server_sent(
    events: AsyncGenerator[IndexedEvent, None], reply: Reply, *, include_usage: bool
) -> AsyncGenerator[str, None]:
    """The stream of a reply; an error that comes after its beginning is a chunk of it."""
    outputs: list[RequestOutput] = []
    try:
        async with aclosing(_checked(events)) as checked:
            async for index, event in checked:
                if event.kind == "finished":
                    outputs.append(event.output)
                for chunk in reply.chunks(index, event):
                    yield _data(chunk)
        if include_usage:
            yield _data(reply.usage_chunk(outputs))
    except RequestError as error:
        yield _data(error.body())
    yield "data: [DONE]\n\n"


async def _checked(events: AsyncGenerator[IndexedEvent, None]) -> AsyncGenerator[IndexedEvent, None]:
    """The same events, with what ends a request before its time raised as `RequestError`."""
    async with aclosing(events):
        try:
            async for index, event in events:
                if event.kind == "finished" and event.output.finish_reason in (FinishReason.ERROR, FinishReason.ABORT):
                    raise RequestError(event.output.error or "the request was aborted", status=500, code="engine_error")
                yield index, event
        except EngineUnavailable as error:
            raise RequestError(str(error), status=503, code="engine_unavailable") from error
        except ValueError as error:
            raise RequestError(str(error)) from error


def _data(chunk: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


async def _say_nothing(request: Request, error: Exception) -> Response:
    """For a client that left before it had sent its request."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _show_error(request: Request, error: Exception) -> Response:
    headers = None
    if isinstance(error, HTTPException):
        headers = error.headers
        hint = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not for {request.url.path}"}
        error = RequestError(hint.get(error.status_code, str(error.detail)), status=error.status_code)
    elif isinstance(error, EngineUnavailable):
        error = RequestError(str(error), status=503, code="engine_unavailable")
    elif not isinstance(error, RequestError):
        error = RequestError("the server failed at this request; its log says why", status=500)
    return JSONResponse(error.body(), status_code=error.status, headers=headers)
