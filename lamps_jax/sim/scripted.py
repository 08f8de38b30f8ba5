"""Requests that do what a script says: what reads their tokens, and what runs their calls.

The engine calls tools by what a reader finds in a request's tokens. A scripted reader counts tokens and finds a call where the
script has one; the call's argument is how long it takes. So the same script runs in the simulator, where calls return in
virtual time, and on a real engine, where a tool sleeps.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.engine.text_stream import TextStep
from lamps_jax.sched.request import SamplingParams
from lamps_jax.sim.workload import Segment
from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.tool import Tool, one_string

NOTHING = TextStep("", "", None, stopped=False)
"""What a token brings that is neither text nor a call."""

RESULT_TOKEN = 1
"""A token of a call's result, where nobody minds which."""


class ScriptedReader:
    """Reads the tokens of one turn of a script.

    Args:
        segments: All but the last end in calls that the server runs.
        clock: Tells when tokens come.
        gaps_s: Each gap between two tokens of a segment is appended to it.
        result_ids: Makes the tokens of a result of so many; None makes them all alike.

    Attributes:
        first_token_s: When the first token came; None before.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        clock: Callable[[], float],
        gaps_s: list[float],
        *,
        result_ids: Callable[[int], list[int]] | None = None,
    ):
        self._segments, self._clock, self._gaps_s, self._result_ids = segments, clock, gaps_s, result_ids
        self._place, self._left = 0, segments[0].num_generated_tokens
        self._last_s: float | None = None
        self.first_token_s: float | None = None

    @property
    def num_quiet_tokens(self) -> int:
        """So many tokens from now on bring nothing, for certain."""
        return self._left - 1

    def push(self, token_id: int, *, stop_allowed: bool) -> TextStep:
        """Counts a token; the last one of a segment completes its call."""
        now = self._clock()
        if self._last_s is not None:
            self._gaps_s.append(now - self._last_s)
        elif self.first_token_s is None:
            self.first_token_s = now
        self._last_s = now
        self._left -= 1
        if self._left:
            return NOTHING
        call = self._segments[self._place].call
        if call is None or self._place == len(self._segments) - 1:
            return NOTHING
        return TextStep("", "", WrittenCall(tool_name(call.name), repr(call.duration_s)), stopped=False)

    def result_token_ids(self, result: str) -> list[int]:
        """As many tokens as the script says that the call returns."""
        call = self._segments[self._place].call
        assert call is not None, "only what was called returns"
        count = call.num_returned_tokens
        return [RESULT_TOKEN] * count if self._result_ids is None else self._result_ids(count)

    def inject(self, token_ids: list[int]) -> None:
        """Goes on to the next segment."""
        self._place += 1
        self._left, self._last_s = self._segments[self._place].num_generated_tokens, None

    def go_on(self, call: WrittenCall) -> TextStep:
        """Nothing stands behind a call."""
        return NOTHING

    def arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """How long the call takes, by the name of the tool's parameter."""
        return dict.fromkeys(tool.parameter_names, written.arguments)

    def flush(self) -> TextStep:
        """Nothing is held back."""
        return NOTHING


def scripted_sampling(segments: Sequence[Segment]) -> SamplingParams:
    """Samples exactly as many tokens as the segments have."""
    count = sum(segment.num_generated_tokens for segment in segments)
    return SamplingParams(max_tokens=count, min_tokens=count, ignore_eos=True)


def tool_name(api: str) -> str:
    """What the tool of an API is called; names of tools are identifiers."""
    return "api_" + "".join(letter if letter.isalnum() else "_" for letter in api)


def scripted_tool(name: str, run: Callable[[float], None], *, timeout_s: float) -> Tool:
    """A tool that takes as long as its argument says.

    Args:
        run: Lets so many seconds pass.
    """

    def function(seconds: str) -> str:
        run(float(seconds))
        return "done"

    return Tool(name, "Takes its time.", one_string("seconds", "How long it takes."), function, timeout_s=timeout_s)


class VirtualApiRunner:
    """Runs scripted calls in virtual time."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._tickets = clock, itertools.count()
        self._returns: list[tuple[float, int, str, float]] = []  # a heap: time, ticket, request, duration
        self._cancelled: set[str] = set()

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        """Begins a call."""
        duration_s = float(arguments["seconds"])
        heapq.heappush(self._returns, (self._clock() + duration_s, next(self._tickets), request_id, duration_s))

    def poll(self) -> list[ApiOutcome]:
        """Calls that have returned by now, in the order of their return."""
        outcomes, now = [], self._clock()
        while self._returns and self._returns[0][0] <= now:
            _, _, request_id, duration_s = heapq.heappop(self._returns)
            if request_id not in self._cancelled:
                outcomes.append(ApiOutcome(request_id, "done", failed=False, duration_s=duration_s))
        return outcomes

    def cancel(self, request_id: str) -> None:
        """Forgets the call of a request that has ended."""
        self._cancelled.add(request_id)

    def next_deadline_s(self) -> float | None:
        """When the next call returns."""
        return self._returns[0][0] if self._returns else None
