import threading
from collections.abc import Iterator

import pytest

from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.tools.tool import Tool, ToolError
from tests.engine.call_bench import Bench
from tests.engine.helpers import Gate, counted, echo_tool


def test_a_call_returns_what_its_tool_does_once():
    bench, tool = Bench(), echo_tool(lambda text: text.upper())
    bench.runner.start("r", tool, {"text": "abc"})
    outcome = bench.outcomes(1)["r"]
    assert (outcome.result, outcome.failed) == ("ABC", False)
    assert bench.runner.poll() == []
    assert counted(tool) == [{"text": "abc"}]


def test_the_duration_is_that_of_the_clock():
    bench, gate = Bench(), Gate()
    bench.clock.now = 7.0
    bench.runner.start("r", echo_tool(gate.hang), {"text": ""})
    bench.clock.now = 9.5
    gate.open()
    assert bench.outcomes(1)["r"].duration_s == 2.5


def test_many_calls_at_once_each_run_exactly_once():
    bench = Bench(max_threads=3)
    tools = {f"r{number}": echo_tool(lambda text: text * 2) for number in range(40)}
    for request_id, tool in tools.items():
        bench.runner.start(request_id, tool, {"text": request_id})
    outcomes: dict[str, ApiOutcome] = {}
    while len(outcomes) < len(tools):
        outcomes |= bench.outcomes(1)
    assert {request_id: outcome.result for request_id, outcome in outcomes.items()} == {name: name * 2 for name in tools}
    assert [len(counted(tool)) for tool in tools.values()] == [1] * len(tools)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ToolError("no such city"), "error: no such city"),
        (ValueError("secret"), "error: the tool failed (ValueError)"),
        (SystemExit(3), "error: the tool failed (SystemExit)"),
        (KeyboardInterrupt(), "error: the tool failed (KeyboardInterrupt)"),
    ],
)
def test_whatever_a_tool_raises_becomes_a_short_text(error: BaseException, result: str):
    def fail(text: str) -> str:
        raise error

    outcome = Bench().call(fail)
    assert (outcome.result, outcome.failed) == (result, True)


def test_a_tool_that_returns_no_text_is_shown_as_text():
    assert Bench().call(lambda text: 42).result == "42"  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 10, 11])
def test_a_result_is_cut_to_its_limit_and_ends_in_an_ellipsis(limit: int):
    result = Bench().call(lambda text: "0123456789", max_result_chars=limit).result
    assert len(result) == min(limit, 10)
    assert result == "0123456789" if limit >= 10 else result.endswith("..."[:limit])


def test_a_tool_that_hangs_times_out_to_the_second_and_its_late_result_is_dropped():
    bench, gate = Bench(), Gate()
    bench.runner.start("r", echo_tool(gate.hang, timeout_s=3.0), {"text": ""})
    assert bench.runner.next_deadline_s() == 3.0
    bench.clock.now = 2.999
    assert bench.runner.poll() == []
    bench.clock.now = 3.0
    (outcome,) = bench.runner.poll()
    assert (outcome.result, outcome.failed, outcome.duration_s) == ("error: timed out after 3 s", True, 3.0)
    assert bench.runner.next_deadline_s() is None
    gate.open()
    assert bench.outcomes(1) == {}


def test_the_next_deadline_is_the_earliest():
    bench, gate = Bench(), Gate()
    for request_id, timeout_s in (("a", 9.0), ("b", 4.0), ("c", 6.0)):
        bench.runner.start(request_id, echo_tool(gate.hang, timeout_s=timeout_s), {"text": ""})
    assert bench.runner.next_deadline_s() == 4.0
    bench.runner.cancel("b")
    assert bench.runner.next_deadline_s() == 6.0
    gate.open()


def test_when_tools_that_hang_hold_every_thread_further_calls_time_out_unrun():
    bench, gate = Bench(max_threads=2), Gate()
    hanging, patient = echo_tool(gate.hang, timeout_s=1.0), echo_tool(timeout_s=5.0)
    for request_id in "ab":
        bench.runner.start(request_id, hanging, {"text": ""})
    bench.runner.start("c", patient, {"text": "c"})
    bench.clock.now = 1.0
    assert {outcome.request_id for outcome in bench.runner.poll()} == {"a", "b"}
    bench.clock.now = 5.0
    (outcome,) = bench.runner.poll()
    assert (outcome.request_id, outcome.result) == ("c", "error: timed out after 5 s")
    gate.open()
    bench.outcomes(2)
    assert bench.outcomes(0) == {}
    assert counted(patient) == []


def test_a_thread_that_comes_back_late_serves_the_next_call():
    bench, gate = Bench(max_threads=1), Gate()
    bench.runner.start("a", echo_tool(gate.hang, timeout_s=1.0), {"text": ""})
    bench.clock.now = 1.0
    bench.runner.poll()
    bench.runner.start("b", echo_tool(), {"text": "b"})
    gate.open()
    assert bench.outcomes(1) == {}  # the poll that finds the thread free starts b
    assert bench.outcomes(1)["b"].result == "b"


def test_a_call_cancelled_before_it_began_never_runs():
    bench, gate, tool = Bench(max_threads=1), Gate(), echo_tool()
    bench.runner.start("a", echo_tool(gate.hang), {"text": ""})
    bench.runner.start("b", tool, {"text": "b"})
    bench.runner.start("c", echo_tool(), {"text": "c"})
    bench.runner.cancel("b")
    gate.open()
    assert set(bench.outcomes(1)) == {"a"}
    assert set(bench.outcomes(1)) == {"c"}
    assert counted(tool) == []


def test_a_call_cancelled_while_it_runs_has_no_outcome():
    bench, gate = Bench(), Gate()
    bench.runner.start("a", echo_tool(gate.hang), {"text": ""})
    bench.runner.cancel("a")
    gate.open()
    assert bench.outcomes(1) == {}
    assert bench.runner.next_deadline_s() is None


def test_cancelling_a_stranger_is_no_error():
    Bench().runner.cancel("nobody")


def test_arguments_reach_the_tool_by_name():
    tool = Tool("Pair", "", {"properties": {"a": {}, "b": {}}}, lambda a, b, state: f"{a}{b}{state}")
    bench = Bench()
    bench.runner.start("r", tool, {"b": 2, "a": 1, "state": {}})
    assert bench.outcomes(1)["r"].result == "12{}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.runner.stop()


class AtOnce:
    """Counts how many of its calls run at the same time."""

    def __init__(self):
        self.gate, self.now, self.most, self._lock = Gate(), 0, 0, threading.Lock()
        self.begun = threading.Semaphore(0)

    def __call__(self, text: str) -> str:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.release()
        self.gate.hang()
        with self._lock:
            self.now -= 1
        return text


def test_no_more_calls_of_a_tool_run_at_once_than_it_allows(bench: Bench):
    busy = AtOnce()
    tool = echo_tool(busy, max_concurrency=2)
    for number in range(6):
        bench.runner.start(f"r{number}", tool, {"text": str(number)})
    for _ in range(2):
        assert busy.begun.acquire(timeout=30)
    bench.runner.poll()
    assert not busy.begun.acquire(timeout=0.05)
    busy.gate.open()
    outcomes: dict[str, ApiOutcome] = {}
    while len(outcomes) < 6:
        outcomes |= bench.outcomes(1)
    assert {outcome.result for outcome in outcomes.values()} == set("012345")
    assert busy.most == 2


def test_calls_of_other_tools_pass_those_that_wait_for_theirs(bench: Bench):
    gate = Gate()
    slow, quick = echo_tool(gate.hang, name="Slow", max_concurrency=1), echo_tool(name="Quick")
    for request_id in ("a", "b", "c"):
        bench.runner.start(request_id, slow, {"text": ""})
    bench.runner.start("d", quick, {"text": "at once"})
    assert bench.outcomes(1)["d"].result == "at once"
    gate.open()


def test_a_call_that_waits_for_its_tool_times_out_like_any_other_and_never_runs(bench: Bench):
    gate = Gate()
    tool = echo_tool(gate.hang, max_concurrency=1, timeout_s=3.0)
    bench.runner.start("a", tool, {"text": "a"})
    bench.clock.now = 1.0
    bench.runner.start("b", tool, {"text": "b"})
    bench.clock.now = 4.0
    assert {outcome.result for outcome in bench.runner.poll()} == {"error: timed out after 3 s"}
    gate.open()
    bench.outcomes(1)
    assert counted(tool) == [{"text": "a"}]


def test_a_call_that_hangs_past_its_time_keeps_its_place(bench: Bench):
    gate = Gate()
    tool = echo_tool(gate.hang, max_concurrency=1, timeout_s=1.0)
    bench.runner.start("a", tool, {"text": "a"})
    bench.clock.now = 2.0
    bench.runner.poll()
    bench.runner.start("b", tool, {"text": "b"})
    assert counted(tool) == [{"text": "a"}]
    gate.open()
    assert bench.outcomes(1) == {}
    assert "b" in bench.outcomes(1)
