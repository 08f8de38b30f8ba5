"""What happens to the tools that run elsewhere: they are killed, and start again."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.soak import remote

TOOLS = """
[[http]]
name = "Remote"
url = "http://127.0.0.1:{port}/"
method = "POST"
parameters = {{ type = "object", properties = {{ text = {{ type = "string" }} }}, required = ["text"] }}
timeout_s = 2.0

[[mcp]]
name = "soak"
command = "{python}"
args = ["{script}", "mcp", "{ledger}"]
timeout_s = 5.0
"""


class RemoteTools:
    """An HTTP tool and an MCP server, which a server of models is told of by a file.

    Attributes:
        file: For ``lamps-jax serve --tools``.
        killed: How often each was.
    """

    def __init__(self, folder: Path, ledger: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.file, self._ledger = folder / "tools.toml", ledger
        self.file.write_text(
            TOOLS.format(port=self._port, python=sys.executable, script=Path(remote.__file__), ledger=ledger.resolve())
        )
        self._http: subprocess.Popen[bytes] | None = None
        self.killed: Counter[str] = Counter()

    async def start(self) -> None:
        """Starts the HTTP tool, and waits until it answers; the MCP server is started by the server of models."""
        arguments = [sys.executable, remote.__file__, "http", str(self._ledger), str(self._port)]
        self._http = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)  # which would tell of each call that was given up
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                with suppress(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{self._port}/")
                    return
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the HTTP tool did not start on port {self._port}")

    def stop(self) -> None:
        """Ends the HTTP tool."""
        if self._http is not None:
            self._http.kill()
            self._http.wait()

    async def kill_now_and_then(self, rng: random.Random, *, every_s: float) -> None:
        """Kills one of the two at random moments; the HTTP tool stays away for a moment."""
        while True:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * every_s)
            if rng.random() < 0.5:
                self.stop()
                self.killed["http"] += 1
                await asyncio.sleep(rng.uniform(0.0, every_s / 4))
                await self.start()
            else:
                self._kill_mcp()

    def _kill_mcp(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int(self._ledger.with_name("mcp.pid").read_text()), signal.SIGKILL)
            self.killed["mcp"] += 1
