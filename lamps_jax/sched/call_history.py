"""How long calls take and how much they return, by who runs them: learned while serving."""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lamps_jax.sched.estimates import Mean
from lamps_jax.sched.quantities import check_quantities
from lamps_jax.sched.request import FinishReason

MIN_CALLS = 3
"""Calls that must have been seen before anything is said; a tool with fewer of its own borrows from the others."""


class RememberedCalls(NamedTuple):
    """What is remembered of one tool, or of clients after one kind of end, in values that a file can hold.

    Attributes:
        finish_reason: "" for a tool.
        num_calls: Calls that `mean_s` stands for.
        num_returned: Calls that `mean_returned_tokens` stands for.
        recent_s: Durations, the oldest first.
    """

    tool: str
    finish_reason: str
    num_calls: int
    mean_s: float
    num_returned: int
    mean_returned_tokens: float
    recent_s: tuple[float, ...]


class CallHistory:
    """How long calls took of late, and how many tokens they returned.

    Calls that the server runs are kept by tool. A call that the client runs lasts from a request's end to the next request of its
    program: it has no tool, and is kept by the finish reason (after ``tool_calls`` a program runs a tool, after ``stop`` a person
    reads).

    Means: each new call moves a tool's mean by 1 / n of the difference, n growing to `memory` and no further, so that older calls
    fade. From `MIN_CALLS` calls on a tool is judged by its own mean alone. One with fewer is shrunk towards the mean over all
    tools, which stands in for each call that is missing: (n own + (MIN_CALLS - n) pooled) / MIN_CALLS. In that pool each tool has
    the weight of its calls, `memory` of them at most. Until the pool holds `MIN_CALLS` calls nothing is known, and None is said.
    Calls that clients run neither borrow from the pool nor lend to it.

    Distributions: the last `memory` calls of a tool, from `MIN_CALLS` on; nothing is borrowed, as whoever wants a distribution
    has a rule for having none.

    The tool that was called longest ago is forgotten when there are more than `max_tools`. `observe` takes a search in a sorted
    list of `memory` numbers, everything that is asked in a step one look-up.

    Args:
        memory: Calls of each tool that are remembered.
        max_tools: Tools, and finish reasons, that are remembered.

    Raises:
        ValueError: If `memory` is below `MIN_CALLS`, or there is no tool to remember.
    """

    def __init__(self, *, memory: int = 100, max_tools: int = 1000):
        if memory < MIN_CALLS or max_tools < 1:
            raise ValueError(f"memory must be at least {MIN_CALLS} and max_tools 1, got {memory} and {max_tools}")
        self._memory, self._max_tools = memory, max_tools
        self._calls: OrderedDict[tuple[str, str], _Calls] = OrderedDict()
        self._pooled_s, self._pooled_tokens = _Pool(), _Pool()

    def observe(
        self, tool: str, duration_s: float, returned_tokens: int | None = None, *, finish_reason: FinishReason | None = None
    ) -> None:
        """Takes in a call that is over.

        Args:
            tool: "" for a call that the client ran.
            returned_tokens: None where nobody has counted them.
            finish_reason: Of the request whose client ran the call; None for a tool.
        """
        key = _key(tool, finish_reason)
        calls = self._calls.get(key)
        if calls is None:
            calls = self._insert(key, _Calls())
        else:
            self._calls.move_to_end(key)
        self._pool(key, calls, -1)
        calls.add(duration_s, returned_tokens, self._memory)
        self._pool(key, calls, 1)

    def expected_s(self, tool: str, *, finish_reason: FinishReason | None = None) -> float | None:
        """Mean duration of a call in seconds; None if too few calls were seen."""
        calls = self._calls.get(_key(tool, finish_reason))
        return _shrunk(calls and calls.duration_s, None if finish_reason else self._pooled_s)

    def expected_returned_tokens(self, tool: str, *, finish_reason: FinishReason | None = None) -> float | None:
        """Mean number of tokens that a call returns; None if too few calls were seen."""
        calls = self._calls.get(_key(tool, finish_reason))
        return _shrunk(calls and calls.returned_tokens, None if finish_reason else self._pooled_tokens)

    def past_s(self, tool: str, *, finish_reason: FinishReason | None = None) -> Sequence[float]:
        """Durations of the calls that are remembered, in seconds, ascending; nothing if too few were seen."""
        calls = self._calls.get(_key(tool, finish_reason))
        return () if calls is None or len(calls.ascending) < MIN_CALLS else calls.ascending

    def remembered(self) -> list[RememberedCalls]:
        """All that is remembered, the tool called longest ago first; `restore` takes it."""
        return [
            RememberedCalls(
                *key,
                calls.duration_s.count,
                calls.duration_s.value,
                calls.returned_tokens.count,
                calls.returned_tokens.value,
                tuple(calls.recent),
            )
            for key, calls in self._calls.items()
        ]

    def restore(self, remembered: Iterable[RememberedCalls]) -> None:
        """Begins with what another history remembered; its own tools of the same name are replaced.

        Raises:
            ValueError: If a number in it is negative or not finite.
        """
        for row in remembered:
            check_quantities(
                num_calls=row.num_calls, mean_s=row.mean_s,
                num_returned=row.num_returned, mean_returned_tokens=row.mean_returned_tokens,
                **{f"recent_s[{place}]": duration_s for place, duration_s in enumerate(row.recent_s)},
            )  # fmt: skip
            calls = _Calls()
            calls.duration_s = Mean(min(row.num_calls, self._memory), row.mean_s)
            calls.returned_tokens = Mean(min(row.num_returned, self._memory), row.mean_returned_tokens)
            calls.recent.extend(row.recent_s[-self._memory :])
            calls.ascending.extend(sorted(calls.recent))
            key = (row.tool, row.finish_reason)
            if known := self._calls.pop(key, None):
                self._pool(key, known, -1)
            self._pool(key, self._insert(key, calls), 1)

    def _insert(self, key: tuple[str, str], calls: "_Calls") -> "_Calls":
        self._calls[key] = calls
        if len(self._calls) > self._max_tools:
            forgotten = self._calls.popitem(last=False)
            self._pool(*forgotten, -1)
        return calls

    def _pool(self, key: tuple[str, str], calls: "_Calls", sign: int) -> None:
        """Takes a tool into the pool, or out of it."""
        if not key[1]:
            self._pooled_s.add(calls.duration_s, sign)
            self._pooled_tokens.add(calls.returned_tokens, sign)


class _Calls:
    """What was seen of one tool."""

    __slots__ = ("ascending", "duration_s", "recent", "returned_tokens")

    def __init__(self) -> None:
        self.duration_s, self.returned_tokens = Mean(), Mean()
        self.recent, self.ascending = deque[float](), list[float]()

    def add(self, duration_s: float, returned_tokens: int | None, memory: int) -> None:
        self.duration_s.add(duration_s, memory)
        if returned_tokens is not None:
            self.returned_tokens.add(returned_tokens, memory)
        self.recent.append(duration_s)
        insort(self.ascending, duration_s)
        if len(self.recent) > memory:
            del self.ascending[bisect_left(self.ascending, self.recent.popleft())]


class _Pool:
    """The mean of several means, each with the weight of its count."""

    def __init__(self) -> None:
        self.count, self._total = 0, 0.0

    def add(self, mean: Mean, sign: int) -> None:
        self.count += sign * mean.count
        self._total = self._total + sign * mean.count * mean.value if self.count else 0.0

    @property
    def value(self) -> float:
        return max(0.0, self._total / self.count)  # what was rounded on the way may leave less than nothing


def _key(tool: str, finish_reason: FinishReason | None) -> tuple[str, str]:
    return tool, "" if finish_reason is None else finish_reason.value


def _shrunk(own: Mean | None, pool: _Pool | None) -> float | None:
    count = own.count if own else 0
    if own and count >= MIN_CALLS:
        return own.value
    if pool is None or pool.count < MIN_CALLS:
        return None
    return ((own.value * count if own else 0.0) + pool.value * (MIN_CALLS - count)) / MIN_CALLS
