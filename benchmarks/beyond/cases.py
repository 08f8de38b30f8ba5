"""What is run: which systems meet which load, with which seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.reproduction.case import GPTJ, VICUNA, Case

POOLS = {"GPT-J-6B, 55,000 tokens": GPTJ, "Vicuna-13B, 13,700 tokens": VICUNA}
RATES = {GPTJ: (2.8, 5.0), VICUNA: (1.0, 1.8)}
"""1.4 and 2.5 times the rate at which InferCept saturates, which is 2.0 and 0.72 requests a second."""

MIDDLE_RATE = {GPTJ: 4.0, VICUNA: 1.4}
TUNING_SEED = 100
"""Kept apart: the tunables were chosen with it, and nothing else is reported of it."""

AGING, AGING_S = (1.0, 2.0, 4.0), (50.0, 200.0, 800.0)
NOISE = (0.0, 0.2, 0.4, 0.6)
THRESHOLDS = (0, 100, 1000, 10_000)

RELEASED, LAMPS, SOUND, PLUS = "lamps, as released", "lamps", "infercept, whole contexts", "lamps-plus"
PLUS_MEANS, PLUS_HISTORY, CLAIRVOYANT = "lamps-plus, class means", "lamps-plus, history", "clairvoyant"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is run."""

    window_s: float
    seeds: tuple[int, ...]
    few_seeds: tuple[int, ...]


WHOLE, QUICK = Scale(600.0, (0, 1, 2, 3, 4), (0,)), Scale(20.0, (0,), (0,))

Table = dict[str, tuple[Case, ...]]
"""Cases of each system, one for each seed."""


def seeded(case: Case, seeds: Sequence[int]) -> tuple[Case, ...]:
    """The case with each seed."""
    return tuple(replace(case, seed=seed) for seed in seeds)


def _options(case: Case, **options: Any) -> Case:
    return replace(case, options=tuple((dict(case.options) | options).items()))


def drained(scale: Scale, policy: str, hardware: str, rate_rps: float, **options: Any) -> Case:
    """Everything that arrives in the window is served to its end, and counts."""
    return Case(policy, hardware=hardware, rate_rps=rate_rps, window_s=scale.window_s, drain=True, options=tuple(options.items()))


def targets(scale: Scale, hardware: str, rate_rps: float) -> Table:
    """The systems that lamps-plus is to beat, what it knows of requests, and a bound."""
    plus, lamps = (drained(scale, policy, hardware, rate_rps) for policy in ("lamps-plus", "lamps"))
    clairvoyant = drained(
        scale, "oracle", hardware, rate_rps, rank_preemption=True, starvation_threshold=0, call_costs="marginal"
    )
    cases = {
        RELEASED: _options(lamps, admission="next-chunk"),
        LAMPS: lamps,
        SOUND: drained(scale, "infercept", hardware, rate_rps, admission="whole-context"),
        PLUS: plus,
        PLUS_MEANS: replace(plus, prediction="class-mean"),
        PLUS_HISTORY: replace(plus, prediction="history"),
        CLAIRVOYANT: replace(clairvoyant, free_swaps=True),
    }
    return {label: seeded(case, scale.seeds) for label, case in cases.items()}


def overloads(scale: Scale) -> list[tuple[str, str, float, Table]]:
    """Each pool by its name and its machine, at each rate, and the systems there."""
    return [
        (pool, hardware, rate, targets(scale, hardware, rate)) for pool, hardware in POOLS.items() for rate in RATES[hardware]
    ]


def ablation(scale: Scale, hardware: str) -> Table:
    """Each ingredient added to lamps, taken from lamps-plus, and what else was tried."""
    rate = MIDDLE_RATE[hardware]
    plus, lamps = (drained(scale, policy, hardware, rate) for policy in ("lamps-plus", "lamps"))
    means = replace(plus, prediction="class-mean")
    cases = {
        "lamps": lamps,
        "lamps + marginal costs": _options(lamps, call_costs="marginal"),
        "lamps + on demand": _options(lamps, demotion="on-demand"),
        "lamps + whole program": _options(lamps, lookahead="program"),
        "lamps + aging": _options(lamps, aging=2.0, aging_s=200.0),
        "lamps-plus": plus,
        "lamps-plus \N{MINUS SIGN} marginal costs": _options(plus, call_costs="paper"),
        "lamps-plus \N{MINUS SIGN} on demand": _options(plus, demotion="ahead"),
        "lamps-plus \N{MINUS SIGN} whole program": _options(plus, lookahead="next-call"),
        "lamps-plus \N{MINUS SIGN} aging, no guard": _options(plus, aging=0.0, starvation_threshold=0),
        "lamps-plus, guard for aging": _options(plus, aging=0.0),
        "lamps-plus + predicted peak": _options(plus, admission="predicted-peak"),
        "lamps-plus + next chunk": _options(plus, admission="next-chunk"),
        "lamps-plus + preemption": _options(plus, rank_preemption=True),
        "lamps-plus + AIMD": _options(plus, program_limit="aimd"),
        "lamps-plus + prefix cache": _options(plus, prefix_cache=True),
        "lamps, class means": replace(lamps, prediction="class-mean"),
        "lamps-plus, class means": means,
        "lamps-plus, class means, program": _options(means, lookahead="program"),
        "lamps-plus, class means, next call": _options(means, lookahead="next-call"),
        "lamps-plus, class means + deviation": replace(means, prediction="class-tail"),
    }
    return {label: seeded(case, scale.few_seeds) for label, case in cases.items()}


def tuning(scale: Scale, hardware: str) -> dict[tuple[float, float], tuple[Case, ...]]:
    """lamps-plus with every pair of its tunables."""
    rate = MIDDLE_RATE[hardware]
    return {
        (aging, aging_s): seeded(drained(scale, "lamps-plus", hardware, rate, aging=aging, aging_s=aging_s), (TUNING_SEED,))
        for aging in AGING
        for aging_s in AGING_S
    }


def noise(scale: Scale, hardware: str) -> dict[tuple[str, float], tuple[Case, ...]]:
    """lamps and lamps-plus with predictions that are wrong by so much."""
    rate = MIDDLE_RATE[hardware]
    return {
        (policy, share): seeded(replace(drained(scale, policy, hardware, rate), noise=share), scale.few_seeds)
        for policy in ("lamps", "lamps-plus")
        for share in NOISE
    }


WORKLOADS = (
    ("Multi-API, no load", "multi-api", 0.5),
    ("Single-API", "single-api", 4.0),
    ("Single-API, overload", "single-api", 5.0),
    ("half without calls", "mixed", 4.0),
    ("ToolBench-like", "toolbench-like", 6.0),
)
"""Of GPT-J's machine."""


def workloads(scale: Scale, name: str, rate_rps: float) -> Table:
    """Another workload, and hardly any load."""
    policies = ("infercept", "preserve", "lamps", "lamps-plus")
    return {
        policy: seeded(replace(drained(scale, policy, GPTJ, rate_rps), workload=name), scale.few_seeds) for policy in policies
    }


def protocol(scale: Scale) -> Table:
    """The paper's window, at the end of which whoever has not finished is forgotten."""
    case = Case("lamps", rate_rps=RATES[GPTJ][-1], window_s=scale.window_s)
    sound = _options(replace(case, policy="infercept"), admission="whole-context")
    return {label: seeded(each, scale.seeds) for label, each in {SOUND: sound, LAMPS: case}.items()}


def starvation(scale: Scale) -> dict[int, tuple[Case, ...]]:
    """lamps with several thresholds; 0 is none."""
    return {
        threshold: seeded(drained(scale, "lamps", GPTJ, MIDDLE_RATE[GPTJ], starvation_threshold=threshold), scale.few_seeds)
        for threshold in THRESHOLDS
    }


def all_cases(scale: Scale) -> list[Case]:
    """Everything that the report reads."""
    tables: list[Iterable[tuple[Case, ...]]] = [protocol(scale).values(), starvation(scale).values()]
    for hardware in POOLS.values():
        tables += [targets(scale, hardware, rate).values() for rate in RATES[hardware]]
        tables += [table(scale, hardware).values() for table in (ablation, tuning, noise)]
    tables += [workloads(scale, name, rate).values() for _, name, rate in WORKLOADS]
    return [case for table in tables for cases in table for case in cases]
