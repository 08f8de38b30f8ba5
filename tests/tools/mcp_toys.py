"""An MCP server by the SDK's own classes, over stdio or, with a port, over streamable HTTP.

usage: mcp_toys.py RUNS_FILE [PORT [old]]; each run of a tool leaves a line in RUNS_FILE. An old server knows but sessions.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

RUNS = Path(sys.argv[1])
server = MCPServer("toys", log_level="ERROR")


def note(line: str) -> None:
    with RUNS.open("a") as file:
        file.write(f"{line}\n")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    note("add")
    return a + b


@server.tool()
def pid() -> str:
    return str(os.getpid())


@server.tool()
def environment() -> str:
    return " ".join(sorted(os.environ))


@server.tool()
def folder() -> str:
    return os.getcwd()


@server.tool()
async def hang() -> str:
    note("hang")
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        note("cancelled")
        raise
    return "late"


@server.tool()
def crash() -> str:
    note("crash")
    sys.stderr.write("out of luck\n")
    sys.stderr.flush()
    os._exit(3)


@server.tool()
def huge(num_chars: int) -> str:
    return "x" * num_chars


@server.tool()
def fail() -> str:
    note("fail")
    raise ToolError("no luck today")


@server.tool()
def child() -> str:
    """Starts a process that holds this one's output open."""
    return str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], stdin=subprocess.DEVNULL).pid)


@server.tool()
def everything() -> CallToolResult:
    """One block of each kind."""
    return CallToolResult(
        content=[
            TextContent(text="A text,"),
            ImageContent(data="AAAA", mime_type="image/png"),
            AudioContent(data="AAAA", mime_type="audio/wav"),
            EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="a text inside")),
            EmbeddedResource(resource=BlobResourceContents(uri="file:///b.bin", blob="AAAA", mime_type="a/b")),
            ResourceLink(name="c", uri="file:///c.txt"),
        ]
    )


class Old:
    """Refuses the request by which new clients ask new servers what they are."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            message = await receive()
            if b"server/discover" in message["body"]:
                await send({"type": "http.response.start", "status": 400, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            messages = [message]
            await self._app(scope, lambda: _first(messages, receive), send)
        else:
            await self._app(scope, receive, send)


async def _first(messages: list[Any], receive: Any) -> Any:
    return messages.pop() if messages else await receive()


def main() -> None:
    if len(sys.argv) == 2:
        server.run("stdio")
        return
    app: Any = server.streamable_http_app()
    app = Old(app) if sys.argv[3:] == ["old"] else app
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")


if __name__ == "__main__":
    main()
