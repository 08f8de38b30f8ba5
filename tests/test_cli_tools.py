"""The command line with tools from files, in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.docs.environment import ENVIRONMENT

ROOT = Path(__file__).parents[1]
RAW = ROOT / "tests" / "tools" / "mcp_raw.py"

COMMAND = str(Path(sys.executable).with_name("lamps-jax"))

pytestmark = pytest.mark.slow


@pytest.fixture
def tools_file(tmp_path: Path) -> Path:
    path = tmp_path / "tools.toml"
    path.write_text(f'[[mcp]]\nname = "raw"\ncommand = {json.dumps(sys.executable)}\nargs = ["{RAW}"]\n')
    return path


@pytest.fixture
def server(tools_file: Path) -> Iterator[subprocess.Popen[str]]:
    words = ["serve", "--port", "0", "--tools", str(tools_file), "--tools", "examples/tools.py", "--max-model-len", "256"]
    process = subprocess.Popen([COMMAND, *words], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def url_of(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"is ready at (http\S+)", line):
            return found[1]
    raise AssertionError("the server did not become ready")


def test_a_server_that_is_told_to_end_ends_its_mcp_servers(server: subprocess.Popen[str]) -> None:
    url = url_of(server)
    children = psutil.Process(server.pid).children(recursive=True)
    assert any(str(RAW) in child.cmdline() for child in children)
    assert httpx.get(f"{url}/health").status_code == 200
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) is not None
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_a_server_that_is_killed_leaves_no_mcp_server_behind(server: subprocess.Popen[str]) -> None:
    url_of(server)
    children = psutil.Process(server.pid).children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_a_question_is_answered_with_tools_of_a_file_at_hand(tools_file: Path) -> None:
    words = ["generate", "What is 48*37?", "--tools", str(tools_file), "--json"]
    done = subprocess.run([COMMAND, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["text"] == "1776"
