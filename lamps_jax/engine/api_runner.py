"""Runs tools off the step loop: a thread a call, each call exactly once, with a limit on its time and on what it returns."""

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.tool import Tool, ToolError

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
class _RunningCall:
    request_id: str
    tool: Tool
    arguments: dict[str, Any]
    called_s: float
    deadline_s: float


class ThreadApiRunner:
    """Runs each call on a daemon thread of its own.

    A thread cannot be killed: the model is told of a time-out in time, but a tool that hangs keeps its thread. At `max_threads`
    further calls wait for one, and time out like any other.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_threads: int = 64,
        wake_up: Callable[[], None] = lambda: None,
    ):
        self._clock, self._max_threads, self._wake_up = clock, max_threads, wake_up
        self._ids = itertools.count()
        self._running: dict[int, _RunningCall] = {}
        self._waiting: deque[int] = deque()
        self._num_threads, self._lock = 0, threading.Lock()
        self._returned: queue.SimpleQueue[tuple[int, str, bool, float]] = queue.SimpleQueue()

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        """Begins a call; its outcome comes from `poll`."""
        call_id, now = next(self._ids), self._clock()
        self._running[call_id] = _RunningCall(request_id, tool, arguments, now, now + tool.timeout_s)
        self._waiting.append(call_id)
        self._start_waiting()

    def poll(self) -> list[ApiOutcome]:
        """Calls that have ended since the last poll, those that ran out of time among them."""
        outcomes = []
        while not self._returned.empty():
            call_id, result, failed, returned_s = self._returned.get()
            if call := self._running.pop(call_id, None):  # else it timed out or was cancelled before
                outcomes.append(ApiOutcome(call.request_id, result, failed, returned_s - call.called_s))
        now = self._clock()
        for call_id, call in list(self._running.items()):
            if now >= call.deadline_s:
                del self._running[call_id]
                logger.warning("tool %s did not return within %g s", call.tool.name, call.tool.timeout_s)
                result = f"error: timed out after {call.tool.timeout_s:g} s"
                outcomes.append(ApiOutcome(call.request_id, result, True, now - call.called_s))
        self._start_waiting()
        return outcomes

    def cancel(self, request_id: str) -> None:
        """Forgets the calls of a request; one that has not begun will not."""
        for call_id in [call_id for call_id, call in self._running.items() if call.request_id == request_id]:
            del self._running[call_id]

    def next_deadline_s(self) -> float | None:
        """When the first of the running calls will have run out of time."""
        return min((call.deadline_s for call in self._running.values()), default=None)

    def _start_waiting(self) -> None:
        while self._waiting:
            with self._lock:
                if self._num_threads >= self._max_threads:
                    return
                self._num_threads += 1
            call_id = self._waiting.popleft()
            call = self._running.get(call_id)
            if call is None:
                with self._lock:
                    self._num_threads -= 1
                continue
            name = f"tool-{call.tool.name}-{call_id}"
            thread = threading.Thread(target=self._run, args=(call_id, call.tool, call.arguments), daemon=True, name=name)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left
                logger.exception("tool %s could not be started", call.tool.name)
                self._end(call_id, "error: the tool could not be started", failed=True)

    def _run(self, call_id: int, tool: Tool, arguments: dict[str, Any]) -> None:
        failed = True
        try:
            result, failed = str(tool.function(**arguments)), False
        except ToolError as error:
            result = f"error: {error}"
        except BaseException as error:  # a tool may raise anything at all; the model gets a short text, the log the rest
            logger.exception("tool %s raised", tool.name)
            result = f"error: the tool failed ({type(error).__name__})"
        result = result.encode("utf-8", "replace").decode()  # half a surrogate pair is no text that can be tokenised
        if len(result) > tool.max_result_chars:
            ellipsis = "..."[: tool.max_result_chars]
            result = result[: tool.max_result_chars - len(ellipsis)] + ellipsis
        self._end(call_id, result, failed=failed)

    def _end(self, call_id: int, result: str, *, failed: bool) -> None:
        """Gives a call's thread back and leaves its result for `poll`."""
        with self._lock:
            self._num_threads -= 1
        self._returned.put((call_id, result, failed, self._clock()))
        self._wake_up()
