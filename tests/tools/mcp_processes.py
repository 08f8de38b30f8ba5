"""MCP servers in processes of their own: how they are started, and waited for."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from lamps_jax.tools.tool import Tool

ROOT = Path(__file__).parents[2]
TOYS, RAW = Path(__file__).with_name("mcp_toys.py"), Path(__file__).with_name("mcp_raw.py")

Start = Callable[..., dict[str, Tool]]


def command(runs: Path) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(TOYS), str(runs)]}


def raw(*faults: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(RAW), *faults]}


def wait_for(line: str, runs: Path) -> None:
    deadline = time.monotonic() + 20
    while line not in runs.read_text().split():
        assert time.monotonic() < deadline, f"no {line} in {runs.read_text()!r}"
        time.sleep(0.01)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Served:
    """A server over HTTP that can be killed and started again at its port."""

    def __init__(self, runs: Path, *options: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._runs, self._options = runs, options
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        words = [sys.executable, str(TOYS), str(self._runs), str(self.port), *self._options]
        self.process = subprocess.Popen(words, cwd=ROOT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
