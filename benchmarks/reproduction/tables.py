"""What came of the experiments, as numbers and as Markdown tables."""

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.reproduction.case import Experiment
from benchmarks.reproduction.pool import Results
from lamps_jax.report.document import Run, parse
from lamps_jax.report.runs import Comparison, Quantity, comparisons, finished_share, of_spread
from lamps_jax.report.table import Column, as_bound, as_percent, markdown, section, with_interval

E2E_MEAN, E2E_P99 = of_spread("e2e_s", "mean"), of_spread("e2e_s", "p99")
E2E_MEDIAN = of_spread("e2e_s", "p50")
TTFT_MEAN, TTFT_P99 = of_spread("ttft_s", "mean"), of_spread("ttft_s", "p99")
ALL_E2E_MEAN, ALL_E2E_P99 = (of_spread("e2e_s", name, all_arrivals=True) for name in ("mean", "p99"))
ALL_TTFT_MEAN = of_spread("ttft_s", "mean", all_arrivals=True)


def throughput(run: Run) -> float | None:
    """Finished requests a second."""
    return run.throughput_rps


def extra(name: str) -> Quantity:
    """A number of a run that has no field of its own in the results document."""
    return lambda run: getattr(run, name, None)


def promoted_share(run: Run) -> float | None:
    """Requests that have starved and were let go first, as a share of those that arrived."""
    return getattr(run, "promoted", 0) / run.arrived if run.arrived else None


def preemptions_each(run: Run) -> float | None:
    """Evictions of running requests, for each request that arrived."""
    return None if run.preemptions is None else run.preemptions / run.arrived


def finished_of_type(run: Run, *, kind: str) -> float | None:
    """Finished requests of a type as a share of those that arrived; None if none did."""
    results = run.by_type.get(kind)
    return results.finished / results.arrived if results and results.arrived else None


FINISHED = Column("finished, %", finished_share, as_percent, "high")
THROUGHPUT = Column("throughput, req/s", throughput, with_interval, "high")
OF_FINISHED = (
    Column("E2E mean, s", E2E_MEAN, with_interval, "low"),
    Column("E2E P99, s", E2E_P99, with_interval, "low"),
    Column("TTFT mean, s", TTFT_MEAN, with_interval, "low"),
    Column("TTFT P99, s", TTFT_P99, with_interval, "low"),
)
OF_ALL = (
    Column("all: E2E mean, s", ALL_E2E_MEAN, as_bound, "low"),
    Column("all: E2E P99, s", ALL_E2E_P99, as_bound, "low"),
    Column("all: TTFT mean, s", ALL_TTFT_MEAN, as_bound, "low"),
)
EVICTIONS = Column("evicted, times a request", preemptions_each, with_interval)
RECOMPUTED = Column("recomputed, thousand tokens", lambda run: (extra("recomputed_tokens")(run) or 0) / 1e3, with_interval)
PROMOTED = Column("promoted, %", promoted_share, as_percent)

WINDOWED = (FINISHED, THROUGHPUT, *OF_FINISHED, *OF_ALL, EVICTIONS)
"""The paper's statistics, of requests that finished in the window, and behind them the same over every arrival."""

DRAINED = (*OF_FINISHED, THROUGHPUT, EVICTIONS, RECOMPUTED)


def comparison(experiment: Experiment, results: Results) -> Comparison:
    """The runs of an experiment side by side."""
    runs = [results[case] | {"label": label} for label, cases in experiment.systems for case in cases]
    (found,) = comparisons(parse({"schema": 1, "kind": "simulate", "machine": None, "commit": None, "runs": runs}))
    return found


def table(of: Comparison, columns: Sequence[Column]) -> str:
    """A row for each system at each rate."""
    return markdown(section(of, "", columns))


def table_by_type(of: Comparison) -> str:
    """The share of each type's arrivals that finished."""
    types = list(dict.fromkeys(kind for runs in of.runs.values() for run in runs for kind in run.by_type))
    columns = [Column(f"{kind}, %", partial(finished_of_type, kind=kind), as_percent, "high") for kind in types]
    return markdown(section(of, "", columns))


def change(of: Comparison, rate: float, quantity: Quantity, system: str = "lamps", against: str = "infercept") -> float:
    """How much larger the mean of a quantity is under one system than under another, as a share: -0.25 is a quarter less."""
    return value(of, system, rate, quantity) / value(of, against, rate, quantity) - 1.0


def value(of: Comparison, system: str, rate: float, quantity: Quantity) -> float:
    """The mean over seeds."""
    estimate = of.estimate(system, rate, quantity)
    if estimate is None:
        raise ValueError(f"{system} has no value at {rate:g} requests a second")
    return estimate.mean


def changes(found: Sequence[Comparison], quantity: Quantity, **systems: str) -> list[float]:
    """`change` at every rate of every comparison."""
    return [change(of, rate, quantity, **systems) for of in found for rate in of.rates if rate is not None]


def percent(share: float) -> str:
    """A change for people."""
    text = f"{100 * share:+.0f} %".replace("-", "\N{MINUS SIGN}")
    return "0 %" if text[1:] == "0 %" else text


def span(shares: Sequence[float], show: Callable[[float], str] = percent) -> str:
    """The least and the most."""
    low, high = min(shares), max(shares)
    return show(low) if show(low) == show(high) else f"{show(low)} to {show(high)}"
