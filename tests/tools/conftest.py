from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.mcp_servers import McpServers
from lamps_jax.tools.tool import Tool
from tests.tools.calls import Caller
from tests.tools.mcp_processes import Start


@pytest.fixture
def caller() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.runner.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server and gives its tools; when the test ends, so have all the processes that it began."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    loop = BackgroundLoop("test")
    servers = McpServers(loop)

    def start(**config: Any) -> dict[str, Tool]:
        ((_, tools),) = servers.tools([McpServerConfig("toys", **config)])
        return {tool.name: tool for tool in tools}

    yield start
    begun = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    servers.stop()
    loop.stop()
    _, alive = psutil.wait_procs(begun, timeout=5)
    assert alive == []


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs"
    path.touch()
    return path
