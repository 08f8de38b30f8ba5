"""How an MCP server is reached: the SDK's transports, watched for their end, and with bounds on what comes in."""

import io
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.types import JSONRPCError

from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.mcp_stdio import stdio

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 << 20
"""Longest message that is taken from a server."""

CANNOT_BE_REACHED = -32099
"""Code of the error that stands for a request that never reached its server."""

SESSION_ENDED = -32098
"""Code of the error that stands for a request of a session that its server does not know."""


@asynccontextmanager
async def transport(config: McpServerConfig, errors: "LastLine", on_end: Callable[[], None]) -> AsyncIterator[Any]:
    """The streams of a server, as the SDK's client takes them.

    Args:
        errors: Gets what a started server writes to its standard error.
        on_end: Called once nothing more will come from the server.
    """
    if config.command is not None:
        with errors.file() as file:
            async with _watched(stdio(config, file, max_message_bytes=MAX_MESSAGE_BYTES), on_end) as streams:
                yield streams
        return
    assert config.url is not None
    # No time-outs here: a call has its own. A compressed message could be far longer than it looks.
    headers = {"Accept-Encoding": "identity"} | config.headers
    async with _Http(headers=headers, timeout=httpx2.Timeout(None, connect=config.start_timeout_s)) as client:
        reached = streamable_http_client(config.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES)
        async with _watched(reached, on_end) as streams:
            yield streams


@asynccontextmanager
async def _watched(streams: AbstractAsyncContextManager[Any], on_end: Callable[[], None]) -> AsyncIterator[Any]:
    async with streams as (read, write):
        yield _WatchedStream(read, on_end), write


class _WatchedStream:
    """A stream of messages that says when it has ended."""

    def __init__(self, stream: Any, on_end: Callable[[], None]):
        self._stream, self._on_end = stream, on_end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> "_WatchedStream":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._on_end()
            raise

    async def __aenter__(self) -> "_WatchedStream":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)


class _Http(httpx2.AsyncClient):
    """A client whose failed connections are answers, so that one lost request does not end the session of the others."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            response = await super().send(request, **options)
        except httpx2.TransportError as error:
            return _error(request, CANNOT_BE_REACHED, f"the server cannot be reached ({type(error).__name__})")
        if response.status_code == 404 and "mcp-session-id" in request.headers:
            await response.aclose()
            return _error(request, SESSION_ENDED, "the server has ended the session")
        if not response.is_closed:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            is_packed = response.headers.get("content-encoding", "identity") != "identity"
            limit = 0 if is_packed else None if is_stream else MAX_MESSAGE_BYTES  # events of a stream are counted by the SDK
            response.stream = _Bounded(response.stream, limit)
        return response


def _error(request: httpx2.Request, code: int, message: str) -> httpx2.Response:
    """An answer that the SDK takes for one of the server's errors."""
    error = JSONRPCError.model_validate({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}})
    return httpx2.Response(503, json=error.model_dump(mode="json"), request=request)


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends in an error where it is too long, or breaks off."""

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int | None):
        self._stream, self._max_bytes = stream, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        try:
            async for chunk in self._stream:
                num_bytes += len(chunk)
                if self._max_bytes is not None and num_bytes > self._max_bytes:
                    raise httpx2.StreamError(f"the message is compressed, or has more than {MAX_MESSAGE_BYTES} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection broke ({type(error).__name__})") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class LastLine:
    """The last line of a server's standard error; all of them are in the log, at level DEBUG.

    Args:
        name: Of the server.
    """

    def __init__(self, name: str):
        self._name, self._text = name, ""
        self._reader: threading.Thread | None = None

    def text(self) -> str:
        """The line, once a server that has ended has been heard to its end."""
        if self._reader is not None:
            self._reader.join(timeout=0.5)
        return self._text

    @contextmanager
    def file(self) -> Iterator[io.TextIOWrapper]:
        """Where a server may write as long as the context lasts, and longer if it lives on."""
        read_end, write_end = os.pipe()
        self._text = ""
        self._reader = threading.Thread(target=self._read, args=(read_end,), name=f"stderr-{self._name}", daemon=True)
        self._reader.start()
        with os.fdopen(write_end, "w") as file:
            yield file

    def _read(self, read_end: int) -> None:
        with os.fdopen(read_end, "rb") as lines:
            while line := lines.readline(10_000):
                text = line.decode("utf-8", "replace").strip()
                logger.debug("%s: %s", self._name, text)
                self._text = text or self._text
