"""What came of the requests that have ended of late: how long they took, and what they called."""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from lamps_jax.engine.events import ApiCall, RequestOutput
from lamps_jax.metrics import Latencies, latencies, percentiles
from lamps_jax.sched.segments import Handling

WINDOW_S = 300.0
"""How long a request counts after it has ended."""

MAX_REQUESTS = 4096
"""Most requests that count; of more, the latest."""

SHARES = (0.5, 0.9, 0.99)


class _Call(NamedTuple):
    tool: str
    duration_s: float
    handling: Handling | None
    failed: bool


class _Ended(NamedTuple):
    ended_s: float
    latencies: Latencies
    calls: tuple[_Call, ...]


class RecentRequests:
    """Remembers the times of requests that have ended, and no text. To be used on the engine's thread alone.

    Args:
        window_s: How long a request counts after it has ended.
    """

    def __init__(self, *, window_s: float = WINDOW_S):
        self.window_s = window_s
        self._ended: deque[_Ended] = deque(maxlen=MAX_REQUESTS)

    def request_over(self, prompt: list[int], output: RequestOutput) -> None:
        """Takes in a request that has ended, with an error or without."""
        ended_s = output.timestamps.finished_s
        assert ended_s is not None, "a request that is over has ended"
        took = latencies(output.timestamps, len(output.token_ids))
        self._ended.append(_Ended(ended_s, took, tuple(_returned(output.calls))))

    def summary(self, now: float, unfinished: Iterable[RequestOutput] = ()) -> dict[str, Any]:
        """Latencies of the requests that have ended in the window, and their calls by tool, with those of `unfinished`."""
        while self._ended and self._ended[0].ended_s < now - self.window_s:
            self._ended.popleft()
        taken = [ended.latencies for ended in self._ended]
        calls = [call for ended in self._ended for call in ended.calls]
        running = list[str]()
        for output in unfinished:
            calls += _returned(output.calls)
            running += [call.name for call in output.calls[-1:] if call.duration_s is None]
        return {
            "window_s": self.window_s,
            "num_ended": len(taken),
            "latencies": {
                name: _spread([took for each in taken if (took := getattr(each, name)) is not None])
                for name in ("ttft_s", "tpot_s", "e2e_s")
            },
            "calls": _by_tool(calls, running),
        }


def _returned(calls: Iterable[ApiCall]) -> list[_Call]:
    """Those of `calls` that the server ran and that have returned."""
    return [_Call(call.name, call.duration_s, call.handling, call.failed) for call in calls if call.duration_s is not None]


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean and percentiles to the microsecond; None of nothing."""
    if not values:
        return None
    named = {f"p{100 * share:g}": value for share, value in zip(SHARES, percentiles(values, SHARES), strict=True)}
    return {name: round(value, 6) for name, value in {"mean": sum(values) / len(values), **named}.items()}


def _by_tool(calls: list[_Call], running: list[str]) -> list[dict[str, Any]]:
    """The calls of each tool in figures, the tool called most often first."""
    by_tool: dict[str, list[_Call]] = {name: [] for name in running}
    for call in calls:
        by_tool.setdefault(call.tool, []).append(call)
    rows = [
        {
            "tool": tool,
            "num_returned": len(mine),
            "num_running": running.count(tool),
            "num_failed": sum(call.failed for call in mine),
            "mean_s": round(sum(call.duration_s for call in mine) / len(mine), 6) if mine else None,
            **{handling.value: sum(call.handling is handling for call in mine) for handling in Handling},
        }
        for tool, mine in by_tool.items()
    ]
    return sorted(rows, key=lambda row: (-row["num_returned"], row["tool"]))
