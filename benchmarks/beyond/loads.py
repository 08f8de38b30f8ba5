"""The later part of docs/report.md: other loads, sessions of agents, the engine in real time, and who pays."""

import json
from collections.abc import Sequence
from itertools import product
from statistics import fmean

from benchmarks.beyond import agents, bound, cases, live, numbers
from benchmarks.beyond.cases import CLAIRVOYANT, LAMPS, PLUS, POOLS, RATES, RELEASED, SOUND, WORKLOADS, Scale
from benchmarks.beyond.numbers import COLUMNS, percent, shown, table
from benchmarks.reproduction.case import Case
from benchmarks.reproduction.pool import Results


def least_mean(scale: Scale, results: Results) -> str:
    """How far below what was reached a mean could be."""
    runs = json.loads(bound.RESULTS.read_text(encoding="utf-8"))["runs"]
    rows, most, closed = [], list[float](), list[float]()
    for pool, hardware, rate, found in cases.overloads(scale):
        least = [run["least_mean_s"] for run in runs if (run["hardware"], run["rate_rps"]) == (hardware, rate)]
        released, plus = ([numbers.mean_s(results[case]) for case in found[label]] for label in (RELEASED, PLUS))
        most.append(fmean(low / base - 1 for low, base in zip(least, released, strict=True)))
        closed.append((fmean(released) - fmean(plus)) / (fmean(released) - fmean(least)))
        values = [shown(numbers.of(results, found[label], numbers.mean_s)) for label in (RELEASED, PLUS, CLAIRVOYANT)]
        rows.append([pool, f"{rate:g}", *values, f"{fmean(least):.0f}", percent(most[-1])])
    heads = ["pool", "req/s", *(f"{label}: mean, s" for label in (RELEASED, PLUS, CLAIRVOYANT)), "no scheduler below", "change"]
    return f"""## How low the mean can be

No scheduler, whatever it knows, gets below a mean that follows from the machine alone: a step is never less than its share of
the pool's memory and its tokens ask for, and no request gets on faster than alone. `python -m benchmarks.beyond.bound` computes
it, with the proof at its head. It lets every step be full of those who need least, at the speed of a step that is
empty, and so cannot be reached:

{table(heads, rows)}

Of the way from the released system to there `lamps-plus` goes {100 * min(closed):.0f} to {100 * max(closed):.0f} %. What was
hoped for on the small pool, {percent(-0.40)}, would be {100 * 0.4 / -min(most):.0f} to {100 * 0.4 / -max(most):.0f} % of it."""


def workloads(scale: Scale, results: Results) -> str:
    """Other mixtures, and hardly any load."""
    rows = []
    for words, name, rate in WORKLOADS:
        found = cases.workloads(scale, name, rate)
        for label, seeds in found.items():
            rows.append([f"{words}, {rate:g} req/s", label, *(shown(numbers.of(results, seeds, get)) for _, get in COLUMNS)])
    idle = cases.workloads(scale, *WORKLOADS[0][1:])
    best = min(numbers.of(results, seeds, numbers.mean_s).mean for seeds in idle.values())
    mine = numbers.of(results, idle["lamps-plus"], numbers.mean_s).mean
    return f"""## Other loads

{table(["workload", "system", *(name for name, _ in COLUMNS)], rows)}

With hardly any load `lamps-plus` is within {100 * (mine / best - 1):.1f} % of the best."""


def agent_sessions(scale: Scale, results: Results) -> str:
    """What becomes of long contexts between the turns of agents."""
    runs = json.loads(agents.RESULTS.read_text(encoding="utf-8"))["runs"]
    return f"""## Sessions of coding agents

Recorded sessions of coding agents, their lengths and gaps scaled to a sixteenth, as requests whose calls are the gaps
(`python -m benchmarks.beyond.agents`); what policies know they learn while serving. The gaps are heavy-tailed, and most of a
session's time; no policy can shorten them, so that the times without them tell more:

{agents.as_table(runs)}

`lamps` foresees the mean gap and discards for gaps that turn out short; on demand nothing is given up that nobody asks for,
and then it goes to the host."""


def live_engine(scale: Scale, results: Results) -> str:
    """The simulated sizes beside measured ones."""
    runs = json.loads(live.RESULTS.read_text(encoding="utf-8"))["runs"]
    seeds = len({run["seed"] for run in runs})
    rates = dict.fromkeys(run["rate_rps"] for run in runs)
    changes = {
        side: [fmean(live.changes(runs, rate, side, path)) for rate, (_, path) in product(rates, live.FIGURES)]
        for side in ("live", "simulated")
    }
    sizes = [measured / simulated for measured, simulated in zip(changes["live"], changes["simulated"], strict=True)]
    return f"""## On an engine

The same two systems on the engine itself, in real time: the embedded model on two cores, a pool of 2,048 tokens, the mixture with
lengths a quarter and calls a twentieth as long (`python -m benchmarks.beyond.live`), means over {seeds} seeds. The simulation
beside it is of the same runs, with the costs of steps fitted to other runs of this engine:

{live.as_table(runs)}

The signs are the simulated ones; of the simulated sizes, {100 * min(sizes):.0f} to {100 * max(sizes):.0f} % were measured."""


def fairness(scale: Scale, results: Results) -> str:
    """Slowdowns by type and by length."""
    blocks = [
        """## Who pays

The slowdown of a request is its latency over what it would take with the machine to itself, its calls included. In drained
runs everybody finishes; the question is how much later."""
    ]
    for pool, hardware in POOLS.items():
        rate = RATES[hardware][-1]
        found = cases.targets(scale, hardware, rate)
        kinds = sorted({kind for run in map(results.__getitem__, found[PLUS]) for kind in run["slowdown_by_type"]})
        rows = []
        for kind in kinds:
            cells = [
                f"{_of_type(results, found[label], kind, 'mean')} / {_of_type(results, found[label], kind, 'p99')}"
                for label in (SOUND, LAMPS, PLUS)
            ]
            rows.append([kind, *cells])
        blocks.append(f"{pool}, {rate:g} req/s, slowdown by type, mean / P99:\n\n" + table(["type", SOUND, LAMPS, PLUS], rows))
    finished = []
    for _, _, _, found in cases.overloads(scale):
        finished += [
            numbers.of(results, found[label], lambda run: run["finished"] / run["arrived"]).mean for label in (SOUND, LAMPS, PLUS)
        ]
    blocks.append(f"The share that finished is {100 * min(finished):.0f} % for every type, system and pool.")
    blocks.append("![Slowdown by decile of isolated length](images/report/fairness.png)")
    return "\n\n".join(blocks)


def _of_type(results: Results, seeds: Sequence[Case], kind: str, statistic: str) -> str:
    values = [
        run["slowdown_by_type"][kind]["slowdown"] for run in map(results.__getitem__, seeds) if kind in run["slowdown_by_type"]
    ]
    return f"{sum(value[statistic] for value in values) / len(values):,.1f}"


LIMITS = """## Limits

- Simulated: the scheduler is the one that serves, the device is a cost model whose constants are derived from the papers
  ([simulator.md](simulator.md)). How well the simulator foretells a live engine is in
  [benchmarking.md](benchmarking.md); the papers' GPUs were not at hand.
- One overload of ten minutes, Poisson arrivals. In an overload that does not end, no order has finite waits.
- Costs of steps and copies are measured when the engine starts and are not fitted again while it runs.
- A client's priorities and requests that resume with blocks on the device go before ranks, and outside of the bound.
- The small pool leaves less to be gained than was hoped for: what is short there is memory for requests that compute.
"""
