"""Calls an ASGI application for a request that came some other way than over a socket."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

logger = logging.getLogger(__name__)

LEAVE_S = 5.0
"""How long an application may take to notice that its client has left before it is cancelled."""

_SCOPE_KEYS = (
    "type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers", "client",
    "server",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def plain_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What of a scope is of the request itself, and can be sent to another process."""
    return {key: scope[key] for key in _SCOPE_KEYS if key in scope}


async def call_app(app: ASGIApp, scope: Scope, body: bytes) -> AsyncGenerator[list[Message], None]:
    """The messages of the response, as many at a time as there are; first none, to say that the request has begun.

    Closing the iterator, or cancelling who waits for it, tells the application that its client has left.
    """
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    left, unread = asyncio.Event(), [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.put_nowait(message)

    call = asyncio.ensure_future(app(scope, receive, send))
    call.add_done_callback(lambda _: messages.put_nowait(None))
    is_whole = False
    try:
        yield []
        while True:
            batch = [await messages.get(), *(messages.get_nowait() for _ in range(messages.qsize()))]
            if sent := [message for message in batch if message is not None]:
                is_whole |= is_last(sent[-1])
                yield sent
            if batch[-1] is None:
                break
        if not is_whole:
            await call
    finally:
        left.set()
        if (await asyncio.wait({call}, timeout=LEAVE_S))[1]:
            call.cancel()
            await asyncio.wait({call})
        if is_whole and not call.cancelled() and (error := call.exception()):
            logger.error("the application failed after its response", exc_info=error)


async def whole_answer(app: ASGIApp, scope: Scope, body: bytes) -> Answer:
    """The response of `app`, once it is complete."""
    status, headers, content = 500, [], bytearray()
    async for messages in call_app(app, scope, body):
        for message in messages:
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message.get("headers", ()))
            else:
                content += message.get("body", b"")
    return Answer(status, headers, bytes(content))


def is_last(message: Message) -> bool:
    """Whether nothing of a response follows `message`."""
    return message["type"] == "http.response.body" and not message.get("more_body", False)
