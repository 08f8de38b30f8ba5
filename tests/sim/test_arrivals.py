"""Arrivals have the rate and the burstiness that was asked for, and the same seed gives the same."""

from collections import Counter
from itertools import islice, pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest

from lamps_jax.sim.arrivals import arrivals, gamma_times, poisson_times
from lamps_jax.sim.workload import Segment, Workload
from tests.sim.scripts import script

WORKLOAD = Workload("w", tuple(script(Segment(number)) for number in (1, 2, 3, 4)))
TIMED = Workload("timed", WORKLOAD.scripts, (0.0, 1.0, 1.0, 6.0))


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise([0.0, *times])]


def test_poisson_gaps_are_exponential() -> None:
    found = sorted(gaps(list(islice(poisson_times(4.0, seed=0), 20_000))))
    assert fmean(found) == pytest.approx(0.25, rel=0.02)
    assert pstdev(found) == pytest.approx(0.25, rel=0.03)
    assert found[10_000] == pytest.approx(0.25 * 0.6931, rel=0.03)


def test_the_first_may_come_at_once_while_later_ones_stay() -> None:
    plain = list(islice(poisson_times(3.5, seed=1), 10))
    assert list(islice(poisson_times(3.5, seed=1, burst_at_start=True), 10)) == [0.0] * 4 + plain[4:]


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_the_given_mean_and_variation(cv: float) -> None:
    found = gaps(list(islice(gamma_times(2.0, cv, seed=0), 30_000)))
    assert fmean(found) == pytest.approx(0.5, rel=0.05)
    assert pstdev(found) / fmean(found) == pytest.approx(cv, rel=0.05)


def test_arrivals_are_numbered_in_order_of_time() -> None:
    made = arrivals(WORKLOAD, rate_rps=5.0, window_s=100.0)
    assert [arrival.index for arrival in made] == list(range(len(made)))
    assert all(earlier.time_s <= later.time_s < 100.0 for earlier, later in pairwise(made))
    assert len(made) == pytest.approx(500, rel=0.15)


def test_scripts_are_drawn_with_replacement_and_evenly() -> None:
    counts = Counter(arrival.script for arrival in arrivals(WORKLOAD, rate_rps=1.0, max_arrivals=8000))
    assert {script.num_generated_tokens: count / 8000 for script, count in counts.items()} == pytest.approx(
        dict.fromkeys((1, 2, 3, 4), 0.25), abs=0.02
    )


@pytest.mark.parametrize("kind", ["poisson", "gamma"])
def test_same_seed_same_arrivals_and_another_seed_others(kind: str) -> None:
    one, same, other = (arrivals(WORKLOAD, kind, rate_rps=2.0, max_arrivals=50, seed=seed) for seed in (0, 0, 1))
    assert one == same and one != other


def test_another_rate_stretches_the_times_and_keeps_the_scripts() -> None:
    slow, fast = (arrivals(WORKLOAD, rate_rps=rate, max_arrivals=50) for rate in (1.0, 4.0))
    assert [arrival.script for arrival in slow] == [arrival.script for arrival in fast]
    assert [arrival.time_s for arrival in slow] == pytest.approx([4 * arrival.time_s for arrival in fast])


def test_a_trace_keeps_its_times_and_its_order() -> None:
    made = arrivals(TIMED, "trace")
    assert [arrival.time_s for arrival in made] == [0.0, 1.0, 1.0, 6.0]
    assert tuple(arrival.script for arrival in made) == TIMED.scripts


def test_a_trace_is_stretched_to_a_rate_and_ends_with_the_window() -> None:
    assert [arrival.time_s for arrival in arrivals(TIMED, "trace", rate_rps=0.25)] == [0.0, 2.0, 2.0, 12.0]
    assert len(arrivals(TIMED, "trace", window_s=6.0)) == 3
    assert len(arrivals(TIMED, "trace", max_arrivals=2)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate_rps": 0.0, "window_s": 1.0}, "rate_rps must be a positive number of requests per second, got 0.0"),
        ({"rate_rps": -1.0, "window_s": 1.0}, "rate_rps must be a positive number of requests per second, got -1.0"),
        ({"rate_rps": float("nan"), "window_s": 1.0}, "rate_rps must be a positive number"),
        ({"kind": "gamma", "rate_rps": 0.0, "window_s": 1.0}, "rate_rps must be a positive number"),
        ({"kind": "gamma", "rate_rps": 1.0, "cv": 0.0, "window_s": 1.0}, "cv must be a positive number, got 0.0"),
        ({"kind": "uniform", "rate_rps": 1.0}, "unknown kind of arrivals 'uniform'; use one of poisson, gamma, trace"),
        ({"window_s": 1.0}, "poisson arrivals need a rate"),
        ({"rate_rps": 1.0}, "poisson arrivals never end; pass window_s or max_arrivals"),
        ({"rate_rps": 1.0, "window_s": 0.0}, "window_s must be a positive number of seconds, got 0.0"),
        ({"rate_rps": 1.0, "max_arrivals": 0}, "max_arrivals must be at least 1, got 0"),
        ({"kind": "trace"}, "workload 'w' has no arrival times of its own; use poisson or gamma arrivals"),
    ],
)
def test_an_argument_out_of_range_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arrivals(WORKLOAD, **arguments)


def test_a_trace_that_comes_all_at_once_cannot_be_stretched() -> None:
    at_once = Workload("burst", WORKLOAD.scripts, (0.0,) * 4)
    assert len(arrivals(at_once, "trace")) == 4
    with pytest.raises(ValueError, match="come all at once and cannot be stretched to a rate"):
        arrivals(at_once, "trace", rate_rps=1.0)
    with pytest.raises(ValueError, match="rate_rps must be a positive number"):
        arrivals(TIMED, "trace", rate_rps=0.0)
