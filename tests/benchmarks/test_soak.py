"""The soak, for as long as a test may take: a server comes through it, and what looks at it sees what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import judge
from benchmarks.soak.visits import Visit
from tests.docs.environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]


def call(name: str, result: str, *, failed: bool = False) -> dict[str, object]:
    return {"name": name, "result": result, "failed": failed}


def failing(verdicts: list[judge.Verdict]) -> list[str]:
    return [verdict.name for verdict in verdicts if not verdict.holds]


def test_calls_that_ran_once_are_in_order() -> None:
    visits = [Visit("chat", calls=[call("Calculator", "Calculator-a-1"), call("Calculator", "Calculator-a-2")])]
    assert failing(judge.tools_ran_once(visits, ["Calculator-a-1", "Calculator-a-2"])) == []


def test_a_call_that_ran_twice_is_seen() -> None:
    visits = [Visit("chat", calls=[call("Calculator", "Calculator-a-2")])]
    assert failing(judge.tools_ran_once(visits, ["Calculator-a-1", "Calculator-a-2"])) == [
        "no request that was heard to its end ran more than it said",
        "runs and calls agree",
    ]


def test_a_result_that_no_tool_gave_is_seen() -> None:
    visits = [Visit("chat", calls=[call("Remote", "Remote-b-1")])]
    assert "each result is a ticket of its own" in failing(judge.tools_ran_once(visits, ["Remote-a-1"]))


def test_runs_of_which_a_client_that_left_has_not_heard_are_in_order() -> None:
    assert failing(judge.tools_ran_once([Visit("disconnect", left=True)], ["Hang-a-1", "Hang-a-2"])) == []


def test_memory_that_grows_is_seen_after_some_minutes() -> None:
    def verdict(seconds: int, bytes_per_s: int) -> bool:
        (found,) = judge.memory_is_flat([(float(at), 10**9 + bytes_per_s * at) for at in range(seconds)])
        return found.holds

    assert verdict(600, 1_000) and not verdict(600, 100_000)
    assert verdict(60, 100_000)  # too short to say


def test_errors_in_the_log_are_seen_but_for_those_that_were_wanted() -> None:
    lines = ["2026-01-01T00:00:00.000Z ERROR lamps_jax.tools.run: tool Crash raised"]
    assert failing(judge.log_is_clean(lines)) == []
    assert failing(judge.log_is_clean([*lines, "2026-01-01T00:00:00.000Z ERROR lamps_jax.engine: lost"])) != []


@pytest.mark.long
def test_a_server_comes_through_a_short_soak(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.34", "--clients", "12", "--fault-every-s", "3"]
    finished = subprocess.run(
        [*command, "--out", tmp_path / "soak.json", "--log", tmp_path / "server.log"],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (run,) = json.loads((tmp_path / "soak.json").read_text())["runs"]
    assert run["calls"] > 0 and run["killed"] and sum(run["visits"].values()) > 50
