"""Tools of MCP servers: started or reached when the tools are loaded, called by their names, ended with `McpServers.stop`."""

import asyncio
from collections.abc import Iterable
from typing import Any

from mcp.types import Tool as ListedTool

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.limits import check_schema
from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.mcp_connection import McpConnection
from lamps_jax.tools.mcp_content import text_of
from lamps_jax.tools.tool import Tool, ToolError


class McpServers:
    """Connections to servers, on an event loop in the background."""

    def __init__(self, loop: BackgroundLoop):
        self._loop = loop
        self._connections: list[McpConnection] = []

    def tools(self, configs: Iterable[McpServerConfig]) -> list[tuple[McpServerConfig, tuple[Tool, ...]]]:
        """The tools of each server, after all of them have been started or reached.

        Raises:
            ValueError: If one of them cannot be, or has not the tools that it should; those begun are for `stop` to end.
        """
        given = list(configs)
        begun = [McpConnection(config) for config in given]
        self._connections += begun
        listed = self._loop.run(_each(begun))
        return [
            (config, self._tools(config, connection, tools))
            for config, connection, tools in zip(given, begun, listed, strict=True)
        ]

    def stop(self) -> None:
        """Ends every connection, and every server that was started."""
        connections, self._connections = self._connections, []
        if connections:
            self._loop.run(_close(connections))

    def _tools(
        self, config: McpServerConfig, connection: McpConnection, listed: "list[ListedTool] | BaseException"
    ) -> tuple[Tool, ...]:
        about = f"the MCP server {config.name} ({config.command or 'at its url'})"
        if isinstance(listed, BaseException):
            raise ValueError(f"{about} cannot be used: {connection.reason or listed}") from listed
        known = [tool.name for tool in listed]
        if missing := [name for name in config.allow or () if name not in known]:
            raise ValueError(f"{about} has no tool {missing[0]!r}, which allow names; it has {', '.join(known) or 'none'}")
        wanted = [tool for tool in listed if config.allow is None or tool.name in config.allow]
        try:
            return tuple(self._tool(config, connection, tool) for tool in wanted)
        except ValueError as error:
            raise ValueError(f"{about} has a tool that cannot be used; leave it out by allow: {error}") from error

    def _tool(self, config: McpServerConfig, connection: McpConnection, listed: ListedTool) -> Tool:
        async def call(**arguments: Any) -> str:
            return await asyncio.wrap_future(self._loop.submit(_answer(connection, listed.name, arguments)))

        check_schema(listed.input_schema)
        parameters = {"type": "object", "properties": {}} | listed.input_schema
        description = listed.description or listed.title or ""
        return Tool(f"{config.prefix}{listed.name}", description, parameters, call, **config.limits)


async def _each(connections: list[McpConnection]) -> "list[list[ListedTool] | BaseException]":
    return await asyncio.gather(*(connection.tools() for connection in connections), return_exceptions=True)


async def _close(connections: list[McpConnection]) -> None:
    await asyncio.gather(*(connection.close() for connection in connections))


async def _answer(connection: McpConnection, name: str, arguments: dict[str, Any]) -> str:
    result = await connection.call(name, arguments)
    if result.is_error:
        raise ToolError(text_of(result) or "the tool failed")
    return text_of(result)
