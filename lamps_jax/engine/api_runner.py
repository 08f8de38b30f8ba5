"""Runs tools off the step loop: a thread a call, with limits on time, on what is returned, and on how many run at once."""

import itertools
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.run import ToolRun
from lamps_jax.tools.tool import Tool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiOutcome:
    """How a call ended.

    Attributes:
        result: Text for the model: the tool's, cut to its limit, or one that starts with ``error:``.
    """

    request_id: str
    result: str
    failed: bool
    duration_s: float


@dataclass(slots=True)
class _Call:
    """A call somebody waits for."""

    request_id: str
    tool: Tool
    run: ToolRun
    called_s: float
    deadline_s: float


class ThreadApiRunner:
    """Runs each call on a daemon thread of its own.

    A call whose tool has as many running as it allows, or that finds `max_threads` taken, waits its turn, and times out like any
    other; calls of other tools pass it by. A thread cannot be killed: the model is told of a time-out in time, but a tool that
    hangs keeps its thread and its place. Only a tool that is a coroutine is cancelled.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_threads: int = 64,
        wake_up: Callable[[], None] = lambda: None,
    ):
        self._clock, self._max_threads, self._wake_up = clock, max_threads, wake_up
        self._loop = BackgroundLoop("async-tools")
        self._ids = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._waiting: deque[int] = deque()
        self._num_running: Counter[str] = Counter()
        self._num_threads, self._lock = 0, threading.Lock()
        self._returned: queue.SimpleQueue[tuple[int, str, bool, float]] = queue.SimpleQueue()

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        """Begins a call; its outcome comes from `poll`."""
        call_id, now = next(self._ids), self._clock()
        self._calls[call_id] = _Call(request_id, tool, ToolRun(tool, arguments, self._loop), now, now + tool.timeout_s)
        self._waiting.append(call_id)
        self._start_waiting()

    def poll(self) -> list[ApiOutcome]:
        """Calls that have ended since the last poll, those that ran out of time among them."""
        outcomes = []
        while not self._returned.empty():
            call_id, result, failed, returned_s = self._returned.get()
            if call := self._calls.pop(call_id, None):  # else it timed out or was cancelled before
                outcomes.append(ApiOutcome(call.request_id, result, failed, returned_s - call.called_s))
        now = self._clock()
        for call_id, call in list(self._calls.items()):
            if now >= call.deadline_s:
                self._forget(call_id)
                logger.warning("tool %s did not return within %g s", call.tool.name, call.tool.timeout_s)
                result = f"error: timed out after {call.tool.timeout_s:g} s"
                outcomes.append(ApiOutcome(call.request_id, result, True, now - call.called_s))
        self._start_waiting()
        return outcomes

    def cancel(self, request_id: str) -> None:
        """Forgets the calls of a request: one that has not begun will not, one that is a coroutine is cancelled."""
        for call_id in [call_id for call_id, call in self._calls.items() if call.request_id == request_id]:
            self._forget(call_id)

    def next_deadline_s(self) -> float | None:
        """When the first of the running calls will have run out of time."""
        return min((call.deadline_s for call in self._calls.values()), default=None)

    def stop(self) -> None:
        """Gives up every call, and ends the event loop of tools that are coroutines; no further call may follow."""
        for call_id in list(self._calls):
            self._forget(call_id)
        self._loop.stop()

    def _forget(self, call_id: int) -> None:
        self._calls.pop(call_id).run.give_up()

    def _start_waiting(self) -> None:
        held: deque[int] = deque()
        while self._waiting:
            call_id = self._waiting.popleft()
            call = self._calls.get(call_id)
            if call is None:
                continue
            if self._take_place(call.tool):
                self._start_thread(call_id, call)
            else:
                held.append(call_id)
        self._waiting = held

    def _take_place(self, tool: Tool) -> bool:
        """Whether a call of `tool` may run now; if so, it is counted as running."""
        with self._lock:
            if self._num_threads >= self._max_threads:
                return False
            if tool.max_concurrency is not None and self._num_running[tool.name] >= tool.max_concurrency:
                return False
            self._num_threads += 1
            self._num_running[tool.name] += 1
            return True

    def _start_thread(self, call_id: int, call: _Call) -> None:
        name = f"tool-{call.tool.name}-{call_id}"
        thread = threading.Thread(target=self._run, args=(call_id, call), daemon=True, name=name)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            logger.exception("tool %s could not be started", call.tool.name)
            self._end(call_id, call.tool, "error: the tool could not be started", failed=True)

    def _run(self, call_id: int, call: _Call) -> None:
        result, failed = call.run.result()
        self._end(call_id, call.tool, result, failed=failed)

    def _end(self, call_id: int, tool: Tool, result: str, *, failed: bool) -> None:
        """Gives a call's place back and leaves its result for `poll`."""
        with self._lock:
            self._num_threads -= 1
            self._num_running[tool.name] -= 1
        self._returned.put((call_id, result, failed, self._clock()))
        self._wake_up()
