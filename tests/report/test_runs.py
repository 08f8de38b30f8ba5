import statistics
from typing import Any

import pytest
from scipy.stats import t

from lamps_jax.report.document import parse
from lamps_jax.report.runs import Comparison, comparisons, estimate_of, of_spread, waste_share
from tests.report.synthetic import run_of

RUN = run_of("toy-lamps", 1.0, 0, window_s=40.0)


def compared(*changes: dict[str, Any]) -> list[Comparison]:
    runs = [RUN | change for change in changes]
    return comparisons(parse({"schema": 1, "kind": "simulate", "machine": {}, "commit": "0", "runs": runs}))


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.5, 3.5, 3.5], [0.1, 12.0, 4.0, 7.5, 9.25]])
def test_an_estimate_is_the_mean_and_students_interval(values: list[float]) -> None:
    estimate = estimate_of(values)
    assert estimate is not None and estimate.half_width is not None
    low, high = t.interval(
        0.95, len(values) - 1, statistics.fmean(values), max(statistics.stdev(values), 1e-300) / len(values) ** 0.5
    )
    assert estimate.mean == pytest.approx(statistics.fmean(values))
    assert (estimate.mean - estimate.half_width, estimate.mean + estimate.half_width) == pytest.approx((low, high))


def test_one_seed_has_no_interval_and_a_missing_value_no_estimate() -> None:
    one = estimate_of([2.0])
    assert one is not None and (one.mean, one.half_width, one.count) == (2.0, None, 1)
    assert estimate_of([2.0, None]) is None
    assert estimate_of([]) is None


def test_seeds_of_a_system_at_a_rate_are_taken_together() -> None:
    spreads = [{"mean": mean, "p50": 1.0, "p90": 1.0, "p99": 1.0} for mean in (10.0, 14.0, 15.0)]
    (found,) = compared(*({"seed": seed, "e2e_s": spread} for seed, spread in enumerate(spreads)))
    estimate = found.estimate("toy-lamps", 1.0, of_spread("e2e_s", "mean"))
    assert estimate is not None and (estimate.mean, estimate.count) == (13.0, 3)


def test_what_is_not_comparable_is_kept_apart() -> None:
    found = compared({}, {"drained": True}, {"hardware": "other"}, {"kind": "bench"}, {"policy": "other"})
    assert [each.systems for each in found] == [("toy-lamps", "other"), ("toy-lamps",), ("toy-lamps",), ("toy-lamps",)]
    assert found[0].setting.title == "toy-workload · toy-model on toy-device, simulated · window 40 s"
    assert found[1].setting.title.endswith("simulated · drained")
    assert found[3].setting.title == "toy-workload · toy-model on toy-device, measured · window 40 s"


def test_rates_ascend_and_all_at_once_comes_last() -> None:
    (found,) = compared({"rate_rps": None}, {"rate_rps": 3.0}, {"rate_rps": 0.5})
    assert found.rates == (0.5, 3.0, None)


def test_systems_that_share_a_name_are_told_apart_by_what_differs() -> None:
    (found,) = compared(
        {"label": "lamps"},
        {"label": "lamps", "options": {"starvation_threshold": 100, "same": 1}, "seed": 0},
        {"label": "vllm", "options": {"same": 1}},
    )
    assert found.systems == ("lamps", "lamps (same=1, starvation_threshold=100)", "vllm")


def test_the_same_run_twice_is_not_two_seeds() -> None:
    with pytest.raises(ValueError, match="toy-lamps on toy-workload at 1 req/s with seed 0 is there twice"):
        compared({}, {})


def test_waste_is_a_share_of_the_pool_over_the_whole_run() -> None:
    waste = {"preserved": 30.0, "recomputed": 50.0, "swapped": 20.0}
    (found,) = compared({"waste_token_s": waste, "pool_tokens": 50, "simulated_s": 10.0})
    (run,) = found.at("toy-lamps", 1.0)
    assert [waste_share(run, cause) for cause in ("preserved", "recomputed", "swapped", "all")] == [0.06, 0.1, 0.04, 0.2]
    (found,) = compared({"waste_token_s": None})
    assert waste_share(found.at("toy-lamps", 1.0)[0], "all") is None
