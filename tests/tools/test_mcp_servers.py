import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.mcp_config import McpServerConfig
from lamps_jax.tools.mcp_servers import McpServers
from lamps_jax.tools.mcp_transport import MAX_MESSAGE_BYTES
from lamps_jax.tools.tool import Tool
from tests.tools.calls import Caller
from tests.tools.mcp_processes import Start, command, raw, wait_for, wait_for_end


@pytest.fixture
def toys(start: Start, runs: Path) -> dict[str, Tool]:
    return start(**command(runs))


def test_what_a_server_offers_is_called_by_its_name(toys: dict[str, Tool], caller: Caller, runs: Path):
    assert toys["add"].description == "Adds two numbers."
    assert toys["add"].parameter_names == ("a", "b")
    assert caller.result(toys["add"], a=2, b=3) == "5"
    assert caller.error(toys["fail"]) == "error: Error executing tool fail: no luck today"
    assert caller.error(toys["add"], a="x", b=3).startswith("error: ")
    assert runs.read_text().split() == ["add", "fail"]


def test_every_kind_of_content_is_put_into_words(toys: dict[str, Tool], caller: Caller):
    assert caller.result(toys["everything"]).splitlines() == [
        "A text,",
        "[an image, image/png, which cannot be shown]",
        "[a sound, audio/wav, which cannot be played]",
        "a text inside",
        "[a file: file:///b.bin, a/b]",
        "[a resource: c, file:///c.txt]",
    ]


@pytest.mark.slow
def test_a_server_runs_with_no_more_than_it_is_given(
    start: Start, runs: Path, tmp_path: Path, caller: Caller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SECRET_OF_THE_OPERATOR", "1")
    tools = start(**command(runs), env={"TOKEN": "2"}, cwd=str(tmp_path))
    seen = caller.result(tools["environment"]).split()
    assert "TOKEN" in seen
    assert set(seen) <= {"TOKEN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}
    assert caller.result(tools["folder"]) == str(tmp_path)


@pytest.mark.slow
def test_long_results_are_cut_and_too_long_ones_cost_the_server(toys: dict[str, Tool], caller: Caller):
    before = caller.result(toys["pid"])
    assert len(caller.result(toys["huge"], num_chars=MAX_MESSAGE_BYTES // 3)) == 4000
    assert caller.result(toys["pid"]) == before
    assert caller.error(toys["huge"], num_chars=2 * MAX_MESSAGE_BYTES) == "error: the tool's server ended before it answered"
    assert caller.result(toys["pid"]) != before


def test_a_call_whose_server_is_killed_fails_at_once_and_the_next_one_has_another(
    toys: dict[str, Tool], caller: Caller, runs: Path
):
    pid = int(caller.result(toys["pid"]))
    caller.start("hanging", toys["hang"])
    wait_for("hang", runs)
    os.kill(pid, signal.SIGKILL)
    outcome = caller.outcomes(1)["hanging"]
    assert outcome.result == "error: the tool's server ended before it answered"
    assert outcome.duration_s < toys["hang"].timeout_s / 2
    assert int(caller.result(toys["pid"])) != pid
    assert runs.read_text().split() == ["hang"]


@pytest.mark.slow
def test_a_server_that_was_killed_between_calls_is_not_noticed(toys: dict[str, Tool], caller: Caller):
    pid = int(caller.result(toys["pid"]))
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    time.sleep(0.1)
    assert int(caller.result(toys["pid"])) != pid


@pytest.mark.slow
def test_a_server_whose_child_holds_its_output_open_is_found_dead_too(toys: dict[str, Tool], caller: Caller):
    pid, child = int(caller.result(toys["pid"])), int(caller.result(toys["child"]))
    caller.start("hanging", toys["hang"])
    os.kill(pid, signal.SIGKILL)
    assert caller.outcomes(1)["hanging"].result == "error: the tool's server ended before it answered"
    assert int(caller.result(toys["pid"])) != pid
    wait_for_end(child)


@pytest.mark.slow
def test_a_server_that_crashes_at_each_call_is_started_at_longer_and_longer_intervals(
    toys: dict[str, Tool], caller: Caller, runs: Path
):
    ended = "error: the tool's server ended before it answered"
    assert [caller.error(toys["crash"]) for _ in range(3)] == [
        ended,
        ended,
        "error: the tool's server is down; it is tried again in 1 s",
    ]
    assert runs.read_text().split() == ["crash"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_call_that_failed_is_repeated_as_often_as_the_tool_declares_and_no_more(
    max_retries: int, start: Start, runs: Path, caller: Caller
):
    tools = start(**command(runs), max_retries=max_retries, retry_delay_s=1.1, timeout_s=60.0)
    assert caller.error(tools["crash"]) == "error: the tool's server ended before it answered"
    assert runs.read_text().split() == ["crash"] * (max_retries + 1)


def test_a_call_that_times_out_is_cancelled_in_the_server(start: Start, runs: Path, caller: Caller):
    tools = start(**command(runs), timeout_s=0.5)
    assert caller.error(tools["hang"]) in ("error: timed out after 0.5 s", "error: timed out")
    wait_for("cancelled", runs)
    assert caller.result(tools["add"], a=1, b=1) == "2"


def test_a_call_whose_client_leaves_is_cancelled_in_the_server(toys: dict[str, Tool], runs: Path, caller: Caller):
    caller.start("r", toys["hang"])
    wait_for("hang", runs)
    caller.runner.cancel("r")
    wait_for("cancelled", runs)


def test_only_what_is_allowed_is_offered_under_the_prefix(start: Start, runs: Path, caller: Caller):
    tools = start(**command(runs), allow=["add", "pid"], prefix="toy.", max_concurrency=3, max_result_chars=99)
    assert sorted(tools) == ["toy.add", "toy.pid"]
    assert (tools["toy.add"].max_concurrency, tools["toy.add"].max_result_chars) == (3, 99)
    assert caller.result(tools["toy.add"], a=1, b=2) == "3"


def test_a_tool_that_is_allowed_but_not_there_is_named(start: Start, runs: Path):
    with pytest.raises(
        ValueError, match=r"the MCP server toys \(.*\) has no tool 'subtract', which allow names; it has add, pid"
    ):
        start(**command(runs), allow=["add", "subtract"])


def test_a_name_that_no_model_can_write_is_named(start: Start):
    with pytest.raises(ValueError, match="has a tool that cannot be used; leave it out by allow: a tool's name must be a letter"):
        start(**raw(), prefix="1 ")


def test_a_list_of_several_pages_is_read_to_its_end(start: Start, caller: Caller):
    tools = start(**raw("pages"))
    assert sorted(tools) == ["tool0", "tool1", "tool2"]
    assert caller.result(tools["tool2"], word="ü") == "tool2: ü"


def test_a_list_without_end_is_refused(start: Start):
    with pytest.raises(ValueError, match="its list of tools has more than 100 pages"):
        start(**raw("circle"))


def test_lines_that_are_no_messages_are_passed_over(start: Start, caller: Caller):
    assert caller.result(start(**raw("chatty"))["tool0"], word="a") == "tool0: a"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"command": "no-such-command"}, r"\(no-such-command\) cannot be used: it cannot be started: .*No such file"),
        (
            {"command": sys.executable, "args": ["-c", "import sys; sys.exit('the disk is full')"]},
            "cannot be used: it ended before it answered; the last it said was: the disk is full",
        ),
        (raw("silent") | {"start_timeout_s": 0.5}, "cannot be used: it did not answer within 0.5 s"),
        ({"url": "http://127.0.0.1:9/mcp"}, r"\(at its url\) cannot be used: .*cannot be reached"),
    ],
    ids=["absent", "crashing", "silent", "unreachable"],
)
def test_a_server_that_cannot_be_started_is_named_with_the_reason(config: dict[str, Any], said: str, start: Start):
    with pytest.raises(ValueError, match=f"the MCP server toys .*{said}") as raised:
        start(**config)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_server_that_will_not_end_is_killed(start: Start, caller: Caller):
    assert caller.result(start(**raw("stubborn"))["tool0"], word="a") == "tool0: a"  # the fixture looks for what is left


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_server_that_is_just_being_started_again_is_ended_with_the_others(
    pause_s: float, toys: dict[str, Tool], caller: Caller
):
    pid = int(caller.result(toys["pid"]))
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    time.sleep(0.1)
    caller.start("r", toys["pid"])
    time.sleep(pause_s)  # the fixture stops them all, and looks for what is left


def test_calls_after_the_end_fail(runs: Path, caller: Caller):
    loop = BackgroundLoop("test")
    servers = McpServers(loop)
    ((_, tools),) = servers.tools([McpServerConfig("raw", **raw())])
    servers.stop()
    assert caller.error(tools[0], word="a") == "error: the tool's server has been stopped"
    loop.stop()
    assert caller.error(tools[0], word="a") == "error: the tool failed (RuntimeError)"
