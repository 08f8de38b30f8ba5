"""A connection to one MCP server: made when it is needed, held open, and made again after it was lost."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.types import CONNECTION_CLOSED, CallToolResult, Implementation
from mcp.types import Tool as ListedTool

import lamps_jax
from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.mcp_transport import CANNOT_BE_REACHED, SESSION_ENDED, LastLine, transport
from lamps_jax.tools.tool import ToolError, ToolUnavailable

logger = logging.getLogger(__name__)

MAX_PAGES = 100
"""Pages of a list of tools that are read; a server that has more goes round in a circle."""

MAX_WAIT_S = 30.0
"""Longest time between two attempts to start a server."""

CLOSE_TIMEOUT_S = 10.0


class McpConnection:
    """One server. All of its methods belong to one event loop.

    A server that ends is started again for the next call; one that ends again before a call succeeded has to wait, twice as long
    each time. What it has not answered when it ends fails at once.

    Attributes:
        reason: Why there is no connection, for the operator: what went wrong, and the last that the server said.
    """

    def __init__(self, config: McpServerConfig):
        self._config = config
        self._errors = LastLine(config.name)
        self._holder: asyncio.Task[None] | None = None
        self._client: asyncio.Future[Client] | None = None
        self._scope: anyio.CancelScope | None = None
        self._end, self._closed = asyncio.Event(), False
        self._num_losses, self._not_before_s = 0, 0.0
        self.reason = ""

    async def tools(self) -> list[ListedTool]:
        """The tools that the server has.

        Raises:
            ToolError: If it cannot be reached, or does not say.
        """
        client = await self._connected()
        tools: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                with anyio.fail_after(self._config.start_timeout_s):
                    page = await client.list_tools(cursor=cursor)
            except (MCPError, TimeoutError, ValueError) as error:
                raise self._failed(error) from error
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise ToolError(f"its list of tools has more than {MAX_PAGES} pages")

    async def call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """What the server answers to a call.

        Raises:
            ToolUnavailable: If the server is not there, or was lost before it answered.
            ToolError: If it refuses the call, or its answer is not as it should be.
        """
        client = await self._connected()
        try:
            return await self._answer(client, name, arguments)
        except MCPError as error:
            if error.code != SESSION_ENDED:
                raise self._failed(error) from error
        # The server does not know the session, so it has not begun with the call either.
        if self._client is not None and self._is_held(client):
            self._drop(self._client)
        try:
            return await self._answer(await self._connected(), name, arguments)
        except MCPError as error:
            raise self._failed(error) from error

    async def close(self) -> None:
        """Ends the session, and the server if it was started for it; there is no other one afterwards."""
        holder, client = self._holder, self._client
        self._closed, self._client = True, None
        if holder is None:
            return
        self._end.set()
        is_open = client is not None and client.done()
        for timeout_s in (CLOSE_TIMEOUT_S if is_open else 0.0, CLOSE_TIMEOUT_S):  # asked to end, then made to
            await asyncio.wait([holder], timeout=timeout_s)
            if self._scope is not None:
                self._scope.cancel()

    async def _answer(self, client: Client, name: str, arguments: dict[str, Any]) -> CallToolResult:
        try:
            result = await client.call_tool(name, arguments)
        except (RuntimeError, ValueError) as error:  # so the SDK reports an answer that is not what the server promised
            if not self._is_held(client):
                raise ToolUnavailable("the tool's server ended before it answered") from error
            raise ToolError(f"the tool's answer cannot be used: {_first_line(error)}") from error
        self._num_losses = 0
        return result

    async def _connected(self) -> Client:
        if self._closed:
            raise ToolUnavailable("the tool's server has been stopped")
        if self._client is None:
            wait_s = self._not_before_s - asyncio.get_running_loop().time()
            if wait_s > 0:
                raise ToolUnavailable(f"the tool's server is down; it is tried again in {math.ceil(wait_s)} s")
            self._client = client = asyncio.get_running_loop().create_future()
            client.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may be that nobody waits any more
            self._holder = asyncio.create_task(self._hold(client, self._holder), name=f"mcp-{self._config.name}")
        return await asyncio.shield(self._client)

    async def _hold(self, client: "asyncio.Future[Client]", previous: "asyncio.Task[None] | None") -> None:
        """Has the connection made once the one before has ended, and says what became of it."""
        if previous is not None:
            await asyncio.wait([previous])
        problem = None
        try:
            if not self._closed:
                await self._keep(client)
        except Exception as error:
            problem = error
        self._drop(client)
        if not self._closed:
            self.reason = await self._reason_of(problem)
            logger.warning("MCP server %s: %s", self._config.name, self.reason)
        if not client.done():
            client.set_exception(ToolUnavailable("the tool's server cannot be reached"))

    async def _keep(self, client: "asyncio.Future[Client]") -> None:
        """Makes the connection, and keeps it until it ends or is to end."""
        self._end = end = asyncio.Event()
        with anyio.fail_after(self._config.start_timeout_s) as self._scope:
            async with self._opened(end) as opened:
                self._scope.deadline = math.inf
                client.set_result(opened)
                await end.wait()
                self._drop(client)

    def _is_held(self, client: Client) -> bool:
        return self._client is not None and self._client.done() and self._client.result() is client

    @asynccontextmanager
    async def _opened(self, end: asyncio.Event) -> AsyncIterator[Client]:
        info = Implementation(name="lamps-jax", version=lamps_jax.__version__)
        async with Client(transport(self._config, self._errors, end.set), cache=None, client_info=info) as client:
            yield client

    def _drop(self, client: "asyncio.Future[Client]") -> None:
        """Gives a connection up, if that has not been done; the first time there may be another at once."""
        if self._client is not client:
            return
        self._client = None
        self._end.set()
        self._num_losses += 1
        wait_s = 0.0 if self._num_losses == 1 else min(2.0 ** (self._num_losses - 2), MAX_WAIT_S)
        self._not_before_s = asyncio.get_running_loop().time() + wait_s

    def _failed(self, error: Exception) -> ToolError:
        if isinstance(error, MCPError):
            if error.code == CANNOT_BE_REACHED:
                return ToolUnavailable("the tool's server cannot be reached")
            if error.code == CONNECTION_CLOSED:
                return ToolUnavailable("the tool's server ended before it answered")
            return ToolError(error.message)
        if isinstance(error, TimeoutError):
            return ToolUnavailable(f"no answer within {self._config.start_timeout_s:g} s")
        return ToolError(f"its answer cannot be read: {_first_line(error)}")

    async def _reason_of(self, error: BaseException | None) -> str:
        """Why there is no connection, with the last that the server said."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is None:
            reason = "it has ended"
        elif isinstance(error, TimeoutError):
            reason = f"it did not answer within {self._config.start_timeout_s:g} s"
        elif isinstance(error, MCPError) and error.code == CONNECTION_CLOSED:
            reason = "it ended before it answered"
        elif isinstance(error, OSError):
            reason = f"it cannot be started: {error}"
        else:
            reason = _first_line(error)
        last = await asyncio.to_thread(self._errors.text)
        return f"{reason}; the last it said was: {last}" if last else reason


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
