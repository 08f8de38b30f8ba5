import statistics

import pytest

from lamps_jax.engine.events import ApiCall, RequestOutput
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import Handling
from lamps_jax.serve.recent import MAX_REQUESTS, RecentRequests


def ended(ended_s: float, *, took_s: float = 1.0, num_tokens: int = 11, calls: tuple[ApiCall, ...] = ()) -> RequestOutput:
    """A request whose first token came after a tenth of its time."""
    arrival_s = ended_s - took_s
    times = Timestamps(arrival_s, arrival_s + took_s / 10, ended_s, ended_s)
    return RequestOutput("r", 3, times, token_ids=[0] * num_tokens, calls=list(calls))


def call(tool: str, duration_s: float | None, handling: Handling = Handling.PRESERVE, *, failed: bool = False) -> ApiCall:
    return ApiCall("c", tool, {}, "", duration_s=duration_s, handling=handling, failed=failed)


def test_percentiles_are_those_of_the_requests_in_the_window():
    recent = RecentRequests(window_s=60.0)
    for number in range(1, 201):
        recent.request_over([], ended(float(number), took_s=number / 10))
    summary = recent.summary(now=200.0)
    kept = [number / 10 for number in range(140, 201)]
    assert summary["num_ended"] == len(kept)
    e2e = summary["latencies"]["e2e_s"]
    assert e2e["mean"] == pytest.approx(statistics.fmean(kept))
    assert e2e["p50"] == pytest.approx(statistics.median(kept))
    assert kept[-7] <= e2e["p90"] <= e2e["p99"] == kept[-1]
    assert summary["latencies"]["ttft_s"]["p50"] == pytest.approx(statistics.median(kept) / 10)
    assert summary["latencies"]["tpot_s"]["p50"] == pytest.approx(statistics.median(kept) * 0.9 / 10)


def test_of_no_requests_and_of_single_tokens_there_are_no_latencies():
    recent = RecentRequests()
    assert recent.summary(0.0)["latencies"] == {"ttft_s": None, "tpot_s": None, "e2e_s": None}
    recent.request_over([], ended(0.0, num_tokens=1))
    latencies = recent.summary(0.0)["latencies"]
    assert latencies["tpot_s"] is None and latencies["e2e_s"]["p99"] == 1.0


def test_calls_are_counted_by_tool_those_of_unfinished_requests_too():
    recent = RecentRequests()
    recent.request_over([], ended(1.0, calls=(call("A", 1.0), call("B", 4.0, Handling.SWAP))))
    recent.request_over([], ended(2.0, calls=(call("A", 3.0, Handling.DISCARD, failed=True), call("clients", None))))
    unfinished = RequestOutput("u", 1, Timestamps(0.0), calls=[call("A", 5.0), call("C", None)])
    first, second, third = recent.summary(3.0, [unfinished])["calls"]
    assert first == {
        "tool": "A", "num_returned": 3, "num_running": 0, "num_failed": 1, "mean_s": 3.0, "preserve": 2, "discard": 1, "swap": 0,
    }  # fmt: skip
    assert (second["tool"], second["mean_s"], second["swap"]) == ("B", 4.0, 1)
    assert (third["tool"], third["num_returned"], third["num_running"], third["mean_s"]) == ("C", 0, 1, None)


def test_no_more_are_remembered_than_there_is_room_for():
    recent = RecentRequests()
    for _ in range(MAX_REQUESTS + 10):
        recent.request_over([], ended(0.0))
    assert recent.summary(0.0)["num_ended"] == MAX_REQUESTS
