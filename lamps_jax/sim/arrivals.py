"""When scripts arrive, and which.

Times and scripts are drawn from a seed each by one uniform number (but for gamma gaps), so that with one seed every rate sees the
same scripts in the same order, and the same gaps, stretched.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from random import Random

from lamps_jax.sim.workload import Arrival, Workload

KINDS = ("poisson", "gamma", "trace")


def arrivals(
    workload: Workload,
    kind: str = "poisson",
    *,
    rate_rps: float | None = None,
    seed: int = 0,
    window_s: float | None = None,
    max_arrivals: int | None = None,
    cv: float = 1.0,
    burst_at_start: bool = False,
) -> tuple[Arrival, ...]:
    """Arrivals in order of time.

    Args:
        workload: Scripts are drawn from it with replacement, each as likely as any other; a trace's are taken in their order.
        kind: "poisson"; "gamma", with gaps of another burstiness; "trace", the times that the workload came with.
        rate_rps: Mean arrivals per second. A trace is stretched to it; None leaves the trace's own.
        seed: Same seed, same arrivals.
        window_s: None arrives at this time or later.
        max_arrivals: So many at most. Unless the times are a trace's, this or the window must be given.
        cv: Deviation of the gaps over their mean; 1 is Poisson, more comes in bursts. For "gamma" alone.
        burst_at_start: LAMPS's and InferCept's protocol: the first int(rate) + 1 arrive at once. For "poisson" alone.

    Raises:
        ValueError: If an argument is out of range, or the workload has no times of its own where they are asked for.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of arrivals {kind!r}; use one of {', '.join(KINDS)}")
    if kind == "trace":
        return _trace_arrivals(workload, rate_rps, window_s, max_arrivals)
    if rate_rps is None:
        raise ValueError(f"{kind} arrivals need a rate; pass rate_rps, requests per second")
    if window_s is None and max_arrivals is None:
        raise ValueError(f"{kind} arrivals never end; pass window_s or max_arrivals")
    times = gamma_times(rate_rps, cv, seed) if kind == "gamma" else poisson_times(rate_rps, seed, burst_at_start=burst_at_start)
    scripts, rng = workload.scripts, Random(f"scripts/{seed}")
    return tuple(
        Arrival(time_s, scripts[int(rng.random() * len(scripts))], index)
        for index, time_s in enumerate(_limited(times, window_s, max_arrivals))
    )


def poisson_times(rate_rps: float, seed: int, *, burst_at_start: bool = False) -> Iterator[float]:
    """Endless times whose gaps are exponential, independent, and 1 / rate long on average.

    With `burst_at_start` the first int(rate) + 1 are 0, and the later ones stay where they were.

    Source: ``benchmarks/final_tput_bench_real.py`` of InferCept's repository; its generator of random numbers is NumPy's, so the
    times are others.
    """
    _check_rate(rate_rps)
    rng, num_at_once = Random(f"times/{seed}"), int(rate_rps) + 1 if burst_at_start else 0

    def times() -> Iterator[float]:
        time_s = 0.0
        for number in itertools.count():
            time_s += -math.log1p(-rng.random()) / rate_rps
            yield 0.0 if number < num_at_once else time_s

    return times()


def gamma_times(rate_rps: float, cv: float, seed: int) -> Iterator[float]:
    """Endless times whose gaps are gamma-distributed: 1 / rate long on average, with `cv` times that as their deviation."""
    _check_rate(rate_rps)
    if not (math.isfinite(cv) and cv > 0):
        raise ValueError(f"cv must be a positive number, got {cv!r}; 1 is Poisson, more comes in bursts")
    rng, shape = Random(f"times/{seed}"), 1 / cv**2

    def times() -> Iterator[float]:
        time_s = 0.0
        while True:
            time_s += rng.gammavariate(shape, 1 / (shape * rate_rps))
            yield time_s

    return times()


def _trace_arrivals(
    workload: Workload, rate_rps: float | None, window_s: float | None, max_arrivals: int | None
) -> tuple[Arrival, ...]:
    if not workload.times_s:
        raise ValueError(f"workload {workload.name!r} has no arrival times of its own; use poisson or gamma arrivals")
    stretch, duration_s = 1.0, workload.times_s[-1] - workload.times_s[0]
    if rate_rps is not None:
        _check_rate(rate_rps)
        if duration_s == 0:
            raise ValueError(f"the arrivals of workload {workload.name!r} come all at once and cannot be stretched to a rate")
        stretch = (len(workload.times_s) - 1) / duration_s / rate_rps
    times = _limited((time_s * stretch for time_s in workload.times_s), window_s, max_arrivals)
    pairs = zip(times, workload.scripts, strict=False)
    return tuple(Arrival(time_s, script, index) for index, (time_s, script) in enumerate(pairs))


def _limited(times: Iterable[float], window_s: float | None, max_arrivals: int | None) -> Iterator[float]:
    if window_s is not None and not (math.isfinite(window_s) and window_s > 0):
        raise ValueError(f"window_s must be a positive number of seconds, got {window_s!r}")
    if max_arrivals is not None and max_arrivals < 1:
        raise ValueError(f"max_arrivals must be at least 1, got {max_arrivals!r}")
    for number, time_s in enumerate(times):
        if (window_s is not None and time_s >= window_s) or (max_arrivals is not None and number >= max_arrivals):
            return
        yield time_s


def _check_rate(rate_rps: float) -> None:
    if not (math.isfinite(rate_rps) and rate_rps > 0):
        raise ValueError(f"rate_rps must be a positive number of requests per second, got {rate_rps!r}")
