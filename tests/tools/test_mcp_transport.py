import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamps_jax.tools.mcp_transport import MAX_MESSAGE_BYTES
from lamps_jax.tools.tool import Tool
from tests.tools.calls import Caller
from tests.tools.mcp_processes import Served, Start, wait_for

pytestmark = pytest.mark.slow

Serve = Callable[..., Served]
ERAS = pytest.mark.parametrize("era", [(), ("old",)], ids=["new", "old"])


@pytest.fixture
def serve(runs: Path) -> Iterator[Callable[..., Served]]:
    served: list[Served] = []

    def serve(*options: str) -> Served:
        served.append(Served(runs, *options))
        return served[-1]

    yield serve
    for each in served:
        each.kill()


@ERAS
def test_tools_over_http_are_called_timed_out_cancelled_and_cut(
    era: tuple[str, ...], start: Start, serve: Serve, caller: Caller, runs: Path
):
    tools = start(url=serve(*era).url, headers={"X-Key": "secret"}, timeout_s=5.0)
    assert caller.result(tools["add"], a=2, b=3) == "5"
    assert caller.error(tools["fail"]) == "error: Error executing tool fail: no luck today"
    assert len(caller.result(tools["huge"], num_chars=100_000)) == 4000
    assert "error: " in caller.error(tools["huge"], num_chars=2 * MAX_MESSAGE_BYTES)
    caller.start("r", tools["hang"])
    wait_for("hang", runs)
    caller.runner.cancel("r")
    wait_for("cancelled", runs)
    assert caller.result(tools["add"], a=1, b=1) == "2"


@ERAS
def test_a_server_over_http_that_comes_back_is_found_again(
    era: tuple[str, ...], start: Start, serve: Serve, caller: Caller, runs: Path
):
    served = serve(*era)
    tools = start(url=served.url, timeout_s=20.0)
    caller.start("hanging", tools["hang"])
    wait_for("hang", runs)
    served.kill()
    hanging = caller.outcomes(1)["hanging"]
    assert hanging.failed and hanging.duration_s < 10
    assert caller.error(tools["add"], a=1, b=1).startswith("error: the tool's server ")
    served.start()
    deadline = time.monotonic() + 30
    while (outcome := caller.call(tools["add"], a=1, b=1)).failed:
        assert time.monotonic() < deadline, outcome.result
        time.sleep(0.2)
    assert outcome.result == "2"
    assert runs.read_text().split() == ["hang", "add"]


def test_a_session_that_the_server_has_forgotten_is_begun_anew_within_the_call(
    start: Start, serve: Serve, caller: Caller, runs: Path
):
    served = serve("old")
    tools = start(url=served.url)
    assert caller.result(tools["add"], a=1, b=1) == "2"
    served.kill()
    served.start()
    assert caller.result(tools["add"], a=1, b=2) == "3"
    assert runs.read_text().split() == ["add", "add"]


def test_a_request_that_never_arrives_leaves_the_others_alone(start: Start, serve: Serve, caller: Caller, runs: Path):
    served = serve()
    tools = start(url=served.url, timeout_s=30.0)
    caller.start("hanging", tools["hang"])
    wait_for("hang", runs)
    os.kill(served.process.pid, signal.SIGSTOP)
    assert caller.error(Tool("hasty", "", tools["add"].parameters, tools["add"].function, timeout_s=0.5), a=1, b=1)
    os.kill(served.process.pid, signal.SIGCONT)
    assert caller.result(tools["add"], a=1, b=2) == "3"
    caller.runner.cancel("hanging")
    wait_for("cancelled", runs)
