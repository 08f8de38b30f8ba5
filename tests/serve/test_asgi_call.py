import asyncio
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from lamps_jax.serve import asgi_call
from lamps_jax.serve.asgi_call import call_app, plain_scope, whole_answer


def scope_of(path: str, method: str = "POST") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body(), status_code=201, headers={"X-Who": "me"})


async def count(request: Request) -> StreamingResponse:
    async def numbers():
        for number in range(4):
            await asyncio.sleep(0)
            yield str(number)

    return StreamingResponse(numbers())


APP = Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/count", count, methods=["POST"])])


def test_a_whole_answer_has_the_status_the_headers_and_the_body():
    answer = asyncio.run(whole_answer(APP, scope_of("/echo"), b"hello"))
    assert (answer.status, answer.body) == (201, b"hello")
    assert (b"x-who", b"me") in answer.headers
    assert asyncio.run(whole_answer(APP, scope_of("/nowhere"), b"")).status == 404
    assert asyncio.run(whole_answer(APP, scope_of("/count"), b"")).body == b"0123"


def test_the_first_thing_to_come_says_that_the_request_has_begun():
    async def first() -> list[Message]:
        calls = call_app(APP, scope_of("/echo"), b"")
        try:
            return await anext(calls)
        finally:
            await calls.aclose()

    assert asyncio.run(first()) == []


def test_closing_the_iterator_tells_the_application_that_its_client_has_left():
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        heard.append((await receive())["type"])

    async def leave() -> None:
        calls = call_app(app, scope_of("/"), b"")
        while not await anext(calls):
            pass
        await calls.aclose()

    asyncio.run(leave())
    assert heard == ["http.disconnect"]


def test_an_application_that_does_not_listen_is_cancelled(monkeypatch):
    monkeypatch.setattr(asgi_call, "LEAVE_S", 0.01)
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def leave() -> None:
        waiting = asyncio.ensure_future(whole_answer(app, scope_of("/"), b""))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()

    asyncio.run(leave())
    assert ended == ["cancelled"]


def test_an_error_before_the_end_of_the_response_is_raised_and_one_behind_it_logged(caplog):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        if scope["path"] == "/late":
            await send({"type": "http.response.body", "body": b"sorry"})
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        asyncio.run(whole_answer(app, scope_of("/early"), b""))
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(whole_answer(app, scope_of("/late"), b"")).body == b"sorry"
    assert "after its response" in caplog.text


def test_a_scope_loses_what_is_not_of_the_request():
    scope = {**scope_of("/"), "app": object(), "state": {}, "asgi": {"version": "3.0"}}
    assert plain_scope(scope) == {**scope_of("/"), "asgi": {"version": "3.0"}}
