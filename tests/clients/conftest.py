"""A server as its users start it, and the clients of an environment of their own."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server_process import ServerProcess, serving
from tests.docs.environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "LANGSMITH_TRACING": "false"}


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One server for all clients; when they are through, nothing may be left in it."""
    with serving(["--client-keep-s", "5"], environment=ENVIRONMENT) as started:
        yield started
        assert not any(started.unfinished(within_s=15.0).values())
        assert started.log_lines("ERROR") == []


@pytest.fixture(scope="session")
def clients() -> Path:
    """The programs of the clients' environment."""
    if not (CLIENTS / ".ready").exists():
        pytest.skip("the clients are not installed; `make .venv-clients/.ready` does it")
    return CLIENTS / "bin"


@pytest.fixture
def run_client(clients: Path, server: ServerProcess) -> Callable[[str], dict[str, Any]]:
    """Runs a script of `scripts/` against the server; gives the object that it prints last."""

    def run(script: str) -> dict[str, Any]:
        command = [clients / "python", Path(__file__).parent / "scripts" / script, server.url]
        finished = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, timeout=200)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout.splitlines()[-1])

    return run
