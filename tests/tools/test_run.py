import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lamps_jax.tools.tool import Tool, ToolError, ToolUnavailable, one_string
from tests.engine.call_bench import Bench
from tests.engine.helpers import counted, echo_tool


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.runner.stop()


class Coroutine:
    """A tool that waits until it is let go, and says what happened to it."""

    def __init__(self):
        self.begun, self.cancelled = threading.Semaphore(0), threading.Event()
        self._may_end = threading.Event()

    def end(self) -> None:
        self._may_end.set()

    async def __call__(self, text: str) -> str:
        self.begun.release()
        try:
            while not self._may_end.is_set():
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return text


def coroutine_tool(function: Any, **options: Any) -> Tool:
    return Tool("Async", "", one_string("text", ""), lambda text: function(text), **options)


class Fails:
    """Raises what it is told to, one after another, and answers after that."""

    def __init__(self, *errors: BaseException):
        self._errors = list(errors)

    def __call__(self, text: str) -> str:
        if self._errors:
            raise self._errors.pop(0)
        return text


@pytest.mark.parametrize(
    "error", [ToolUnavailable(""), TimeoutError(), ConnectionResetError()], ids=lambda error: type(error).__name__
)
def test_a_tool_that_declares_retries_is_tried_again(error: Exception, bench: Bench):
    tool = echo_tool(Fails(error, error), max_retries=2, retry_delay_s=0)
    bench.runner.start("r", tool, {"text": "at last"})
    outcome = bench.outcomes(1)["r"]
    assert (outcome.result, outcome.failed) == ("at last", False)
    assert counted(tool) == [{"text": "at last"}] * 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolUnavailable("try later"), "error: try later"),
        (TimeoutError(), "error: timed out"),
        (ConnectionResetError(), "error: the tool failed (ConnectionResetError)"),
    ],
)
@pytest.mark.parametrize("max_retries", [0, 2])
def test_when_no_retry_is_left_the_model_is_told_why(error: Exception, told: str, max_retries: int, bench: Bench):
    tool = echo_tool(Fails(*[error] * 9), max_retries=max_retries, retry_delay_s=0)
    bench.runner.start("r", tool, {"text": ""})
    outcome = bench.outcomes(1)["r"]
    assert (outcome.result, outcome.failed) == (told, True)
    assert len(counted(tool)) == max_retries + 1


@pytest.mark.parametrize("error", [ToolError("no such city"), ValueError(), OSError("disk full"), KeyboardInterrupt()])
def test_what_would_fail_again_is_not_tried_again(error: BaseException, bench: Bench):
    tool = echo_tool(Fails(error), max_retries=5, retry_delay_s=0)
    bench.runner.start("r", tool, {"text": ""})
    assert bench.outcomes(1)["r"].failed
    assert len(counted(tool)) == 1


def test_no_retry_begins_once_the_call_has_timed_out(bench: Bench):
    tool = echo_tool(Fails(*[ToolUnavailable("")] * 9), max_retries=5, retry_delay_s=60, timeout_s=5.0)
    bench.runner.start("r", tool, {"text": ""})
    while not counted(tool):
        threading.Event().wait(0.001)
    bench.clock.now = 5.0
    assert [outcome.result for outcome in bench.runner.poll()] == ["error: timed out after 5 s"]
    assert bench.outcomes(1) == {}  # its thread has come back, long before the 60 s
    assert len(counted(tool)) == 1


def test_a_tool_that_is_a_coroutine_is_awaited(bench: Bench):
    waiting = Coroutine()
    bench.runner.start("r", coroutine_tool(waiting), {"text": "done"})
    waiting.end()
    assert bench.outcomes(1)["r"].result == "done"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolError("no"), "error: no"),
        (ValueError(), "(ValueError)"),
        (SystemExit(), "(RuntimeError)"),
        (KeyboardInterrupt(), "(R"),
    ],
)
def test_whatever_a_coroutine_raises_others_go_on(error: BaseException, told: str, bench: Bench):
    async def fail(text: str) -> str:
        raise error

    waiting = Coroutine()
    bench.runner.start("good", coroutine_tool(waiting), {"text": "good"})
    assert waiting.begun.acquire(timeout=30)
    bench.runner.start("bad", coroutine_tool(fail), {"text": ""})
    assert told in bench.outcomes(1)["bad"].result
    waiting.end()
    assert bench.outcomes(1)["good"].result == "good"


def test_a_coroutine_is_cancelled_when_its_request_is(bench: Bench):
    waiting = Coroutine()
    bench.runner.start("r", coroutine_tool(waiting), {"text": ""})
    assert waiting.begun.acquire(timeout=30)
    bench.runner.cancel("r")
    assert waiting.cancelled.wait(30)
    assert bench.outcomes(1) == {}


def test_a_coroutine_is_cancelled_when_its_time_is_up(bench: Bench):
    waiting = Coroutine()
    bench.runner.start("r", coroutine_tool(waiting, timeout_s=2.0), {"text": ""})
    assert waiting.begun.acquire(timeout=30)
    bench.clock.now = 2.0
    assert [outcome.result for outcome in bench.runner.poll()] == ["error: timed out after 2 s"]
    assert waiting.cancelled.wait(30)
    assert bench.outcomes(1) == {}


def test_a_coroutine_with_retries_gives_each_attempt_its_share_of_the_time(bench: Bench):
    waiting = Coroutine()
    tool = coroutine_tool(waiting, timeout_s=0.3, max_retries=2, retry_delay_s=0)
    bench.runner.start("r", tool, {"text": ""})  # the clock stands still, so only the attempts time out
    assert bench.outcomes(1)["r"].result == "error: timed out"
    assert [waiting.begun.acquire(timeout=1) for _ in range(3)] == [True] * 3
    assert not waiting.begun.acquire(timeout=0.05)


def test_a_runner_that_is_stopped_gives_up_its_calls():
    bench, waiting = Bench(), Coroutine()
    bench.runner.start("r", coroutine_tool(waiting), {"text": ""})
    assert waiting.begun.acquire(timeout=30)
    bench.runner.stop()
    assert waiting.cancelled.wait(30)
    assert bench.outcomes(1) == {}
