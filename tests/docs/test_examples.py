import subprocess
import sys

import pytest

from tests.docs.environment import ENVIRONMENT
from tests.docs.markdown import ROOT

pytestmark = pytest.mark.slow


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test_here() -> None:
    source = (ROOT / "tests/docs/test_examples.py").read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name}" not in source] == []


def test_the_offline_example_calls_the_calculator() -> None:
    printed = run("examples/generate.py")
    assert "1776" in printed
    assert "Calculator(48*37) -> 1776" in printed


def test_the_agent_loop_runs_both_tools_in_the_client(server_url: str) -> None:
    printed = run("examples/agent_loop.py", "--url", f"{server_url}/v1")
    assert "Search(" in printed
    assert "Calculator(" in printed
    assert printed.strip().endswith("76")


def test_the_streaming_example_shows_each_call_of_the_text_world(server_url: str) -> None:
    printed = run("examples/chat_stream.py", "--url", f"{server_url}/v1")
    assert "[World(take brass key) -> Taken.]" in printed
    assert printed.strip().endswith("I have the brass key.")
