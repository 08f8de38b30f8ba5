"""Tools from files: Python, or TOML that describes HTTP endpoints and MCP servers."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.tool import Tool


class LoadedTools:
    """Tools, and what runs behind them until they are stopped; ``with`` stops them at its end.

    Attributes:
        tools: All of them; no two have one name.
    """

    def __init__(self, tools: Iterable[Tool], stops: Sequence[Callable[[], None]] = ()):
        self.tools = tuple(tools)
        self._stops = list(stops)

    def stop(self) -> None:
        """Ends servers that were started, closes connections; calls that still run fail. Once is enough, more do no harm."""
        while self._stops:
            self._stops.pop()()

    def __enter__(self) -> "LoadedTools":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def load_tools(paths: Iterable[Path], *, builtin: Iterable[Tool] = ()) -> LoadedTools:
    """The tools of `builtin` and of each file: ``.py`` as `python_file` reads it, ``.toml`` as `toml_file` does.

    MCP servers are started here; they run until `LoadedTools.stop`.

    Raises:
        ValueError: If a file cannot be used, a server not be started, or two tools have one name.
    """
    found: list[tuple[str, Tool]] = [("the built-in tools", tool) for tool in builtin]
    loop = BackgroundLoop("loaded-tools")
    stops = [loop.stop]
    try:
        for path in paths:
            if path.suffix == ".py":
                from lamps_jax.tools.python_file import tools_of_python_file

                found += [(str(path), tool) for tool in tools_of_python_file(path)]
            elif path.suffix == ".toml":
                found += _toml_tools(path, loop, stops)
            else:
                raise ValueError(f"tools come from files whose names end in .py or .toml, got {path}")
        return LoadedTools(_named_apart(found), stops)
    except BaseException:
        LoadedTools((), stops).stop()
        raise


def _toml_tools(path: Path, loop: BackgroundLoop, stops: list[Callable[[], None]]) -> list[tuple[str, Tool]]:
    from lamps_jax.tools.toml_file import read_toml_file

    content = read_toml_file(path)
    found: list[tuple[str, Tool]] = []
    if content.http:
        from lamps_jax.tools.http_tools import HttpTools

        endpoints = HttpTools(loop)
        stops.append(endpoints.stop)
        found += [(str(path), tool) for tool in endpoints.tools(content.http)]
    if content.mcp:
        from lamps_jax.tools.mcp_servers import McpServers

        servers = McpServers(loop)
        stops.append(servers.stop)
        for config, tools in servers.tools(content.mcp):
            found += [(f"the MCP server {config.name} of {path}", tool) for tool in tools]
    return found


def _named_apart(found: Iterable[tuple[str, Tool]]) -> list[Tool]:
    """The tools, once it is sure that each name means one of them; the same tool may be found twice."""
    first: dict[str, tuple[str, Tool]] = {}
    for source, tool in found:
        before, other = first.setdefault(tool.name, (source, tool))
        if other is not tool:
            where = f"twice in {source}" if before == source else f"in {before} and in {source}"
            raise ValueError(
                f"there is a tool called {tool.name} {where}; rename one, give an MCP server a prefix, "
                "or leave the built-in tools out (--no-builtin-tools)"
            )
    return [tool for _, tool in first.values()]
