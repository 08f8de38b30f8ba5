"""Runs put side by side: what is comparable, and what several seeds say together."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lamps_jax.report.document import Document, Kind, Run, Spread

CAUSES = ("preserved", "recomputed", "swapped")
"""Why memory is held without computing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, and half the width of its 95 % confidence interval (Student's t); None where there is one seed."""

    mean: float
    half_width: float | None
    count: int


def estimate_of(values: Sequence[float | None]) -> Estimate | None:
    """What seeds say together; None where one of them has no value, as a mean over the others would not be comparable."""
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values):
        return None
    mean, count = statistics.fmean(present), len(present)
    if count == 1:
        return Estimate(mean, None, 1)
    from scipy.special import stdtrit

    quantile = float(stdtrit(count - 1, 0.975))
    return Estimate(mean, quantile * statistics.stdev(present) / count**0.5, count)


Quantity = Callable[[Run], float | None]
"""A number of one run; None where the run has none."""


def of_spread(name: str, statistic: str, *, all_arrivals: bool = False) -> Quantity:
    """The statistic ("mean", "p99", …) of a latency, over finished requests or over every arrival."""

    def quantity(run: Run) -> float | None:
        spread: Spread | None = getattr(run.all_arrivals if all_arrivals else run, name, None)
        return None if spread is None else getattr(spread, statistic)

    return quantity


def finished_share(run: Run) -> float | None:
    """Finished requests as a share of those that arrived."""
    return run.finished / run.arrived if run.arrived else None


def waste_share(run: Run, cause: str) -> float | None:
    """Waste of a cause as a share of the pool's token-seconds over the run; a cause of "all" is the sum."""
    length_s = run.simulated_s or run.window_s
    if run.waste_token_s is None or not run.pool_tokens or not length_s:
        return None
    causes = CAUSES if cause == "all" else (cause,)
    return sum(getattr(run.waste_token_s, each) for each in causes) / (run.pool_tokens * length_s)


@dataclass(frozen=True, slots=True)
class Setting:
    """What runs must share to be compared with each other."""

    kind: Kind
    workload: str
    model: str
    hardware: str
    window_s: float | None
    drained: bool

    @property
    def title(self) -> str:
        """One line for people; says whether it was simulated or measured."""
        how = "simulated" if self.kind == "simulate" else "measured"
        end = "drained" if self.drained else f"window {self.window_s:,.0f} s" if self.window_s else ""
        return " · ".join(part for part in (self.workload, f"{self.model} on {self.hardware}, {how}", end) if part)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs of one setting.

    Attributes:
        systems: In the order in which the document first names them, over all settings.
        rates: Ascending; None, all at once, comes last.
        runs: By system and rate, in order of seeds.
    """

    setting: Setting
    systems: tuple[str, ...]
    rates: tuple[float | None, ...]
    runs: Mapping[tuple[str, float | None], tuple[Run, ...]]

    def at(self, system: str, rate: float | None) -> tuple[Run, ...]:
        """The runs of a system at a rate, one for each seed; empty if there is none."""
        return self.runs.get((system, rate), ())

    def estimate(self, system: str, rate: float | None, quantity: Quantity) -> Estimate | None:
        """What the seeds of a system at a rate say together."""
        return estimate_of([quantity(run) for run in self.at(system, rate)])

    @property
    def seeds_text(self) -> str:
        """What an interval is over, for people; empty where every system ran once."""
        counts = [len(runs) for runs in self.runs.values()]
        least, most = min(counts), max(counts)
        if most == 1:
            return ""
        return f"95 % interval over {most if least == most else f'{least} to {most}'} seeds"

    def any(self, holds: Callable[[Run], bool]) -> bool:
        """Whether some run has a property."""
        return any(holds(run) for runs in self.runs.values() for run in runs)


def comparisons(document: Document) -> list[Comparison]:
    """The runs of a document by setting, in the order in which it first names them.

    Raises:
        ValueError: If a run is there twice: it would count as two seeds.
    """
    names = _distinct_names(document.runs)
    grouped: dict[Setting, dict[tuple[str, float | None], list[Run]]] = {}
    for run, name in zip(document.runs, names, strict=True):
        kind = run.kind or document.kind
        setting = Setting(kind, run.workload, run.model, run.hardware, run.window_s, run.drained)
        seeds = grouped.setdefault(setting, {}).setdefault((name, run.rate_rps), [])
        if any(other.seed == run.seed for other in seeds):
            raise ValueError(
                f"{name} on {run.workload} at {rate_text(run.rate_rps)} with seed {run.seed} is there twice; "
                "leave one out, or tell them apart by their labels"
            )
        seeds.append(run)
    order = list(dict.fromkeys(names))
    return [_comparison(setting, runs, order) for setting, runs in grouped.items()]


def _comparison(setting: Setting, runs: Mapping[tuple[str, float | None], Sequence[Run]], order: Sequence[str]) -> Comparison:
    systems = tuple(sorted({name for name, _ in runs}, key=order.index))
    rates = tuple(sorted({rate for _, rate in runs}, key=lambda rate: float("inf") if rate is None else rate))
    ordered = {key: tuple(sorted(seeds, key=lambda run: run.seed)) for key, seeds in runs.items()}
    return Comparison(setting, systems, rates, ordered)


def _distinct_names(runs: Sequence[Run]) -> list[str]:
    """A name for each run's system; where policies or options share a label, what differs is added to it."""
    variants: dict[str, dict[str, Run]] = {}
    keys = [json.dumps([run.policy, run.options], sort_keys=True) for run in runs]
    for run, key in zip(runs, keys, strict=True):
        variants.setdefault(run.name, {}).setdefault(key, run)
    return [_suffixed(run, list(variants[run.name].values())) for run in runs]


def _suffixed(run: Run, others: Sequence[Run]) -> str:
    differing = sorted(
        {name for other in others for name in {*run.options, *other.options} if run.options.get(name) != other.options.get(name)}
    )
    parts = [f"{name}={run.options[name]}" for name in differing if name in run.options]
    if len({other.policy for other in others}) > 1 and run.label:
        parts.insert(0, run.policy)
    return f"{run.name} ({', '.join(parts)})" if parts else run.name


def rate_text(rate_rps: float | None) -> str:
    """A rate for people."""
    return "all at once" if rate_rps is None else f"{rate_rps:g} req/s"
