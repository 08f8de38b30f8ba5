"""From the events of the engine to the response: whole, or a stream of server-sent events."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from lamps_jax.engine.events import RequestOutput
from lamps_jax.sched.request import FinishReason
from lamps_jax.serve.async_engine import EngineUnavailable, IndexedEvent
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.connection import ClientLeft, EventStreamResponse, while_connected
from lamps_jax.serve.errors import CLIENT_CLOSED_REQUEST
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.replies.reply import Reply


async def respond(
    request: Request, body: GenerationBody, events: AsyncGenerator[list[IndexedEvent], None], reply: Reply
) -> Response:
    """What the client gets of `events`, as `reply` shows them; they are closed when the client leaves.

    A stream begins with its first chunk: what goes wrong before has a status of its own.
    """
    try:
        if body.stream:
            chunks = _server_sent(events, reply, include_usage=body.include_usage)
            return EventStreamResponse(_begun(await while_connected(request.receive, _first(chunks)), chunks))
        outputs = await while_connected(request.receive, _collect(events))
    except ClientLeft:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return JSONResponse(reply.whole(outputs))


async def _first(chunks: AsyncGenerator[str, None]) -> str:
    return await anext(chunks)


async def _begun(first: str, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """A stream whose first chunk has been waited for."""
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


async def _collect(events: AsyncGenerator[list[IndexedEvent], None]) -> list[RequestOutput]:
    """The outputs once all have finished, in the order of their prompts."""
    outputs = {index: event.output async for arrived in _checked(events) for index, event in arrived if event.kind == "finished"}
    return [outputs[index] for index in sorted(outputs)]


async def _server_sent(
    events: AsyncGenerator[list[IndexedEvent], None], reply: Reply, *, include_usage: bool
) -> AsyncGenerator[str, None]:
    """The stream of a reply; an error that comes after its beginning is a chunk of it, and raised before."""
    outputs: dict[int, RequestOutput] = {}
    has_begun = False
    try:
        async with aclosing(_checked(events)) as checked:
            async for arrived in checked:
                outputs |= {index: event.output for index, event in arrived if event.kind == "finished"}
                # One piece to send, however many events: where the clients are slower than the engine, that is what costs least.
                if chunks := "".join(_data(chunk) for index, event in arrived for chunk in reply.chunks(index, event)):
                    has_begun = True
                    yield chunks
        if include_usage:
            yield _data(reply.usage_chunk([outputs[index] for index in sorted(outputs)]))
    except RequestError as error:
        if not has_begun:
            raise
        yield _data(error.body())
    yield "data: [DONE]\n\n"


async def _checked(events: AsyncGenerator[list[IndexedEvent], None]) -> AsyncGenerator[list[IndexedEvent], None]:
    """The same events, with what ends a request before its time raised as `RequestError`."""
    async with aclosing(events):
        try:
            async for arrived in events:
                for place, (_, event) in enumerate(arrived):
                    if event.kind == "finished" and event.output.finish_reason in (FinishReason.ERROR, FinishReason.ABORT):
                        if place:
                            yield arrived[:place]
                        raise _failure(event.output)
                yield arrived
        except EngineUnavailable as error:
            raise RequestError(str(error), status=503, code="engine_unavailable") from error
        except ValueError as error:
            raise RequestError(str(error)) from error


def _failure(output: RequestOutput) -> RequestError:
    """What the client is told of a request that ended before its time."""
    if output.is_askers_fault:
        return RequestError(output.error or "", code="constraint_failed")
    return RequestError(output.error or "the request was aborted", status=500, code="engine_error")


def _data(chunk: Mapping[str, Any]) -> str:
    """One event; JSON in ASCII, for readers of lines take some characters beyond it for the end of a line."""
    return f"data: {json.dumps(chunk)}\n\n"
