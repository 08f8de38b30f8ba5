"""lamps and lamps-plus on an engine in real time, beside the simulations of the same runs.

    python -m benchmarks.beyond.live        # a quarter of an hour, on a machine that does nothing else

The machine, its costs and the workload are those of `benchmarks.fidelity`: the embedded model, and a pool so small that memory is
what requests wait for. What policies decide by is the same on both sides, the true lengths and durations.
"""

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.beyond.numbers import percent, table
from benchmarks.document import write_document
from benchmarks.fidelity import OPTIONS, compare_latencies, small_machine, small_workload, with_observed_costs
from benchmarks.reproduction.pool import ROOT
from lamps_jax import terminal
from lamps_jax.config import SchedulerConfig
from lamps_jax.sim.spec import RunSpec

RESULTS = ROOT / "benchmarks/results/live_systems.json"
SYSTEMS: dict[str, dict[str, Any]] = {
    "lamps, as released": {"policy": "lamps", "admission": "next-chunk"},
    "lamps-plus": {"policy": "lamps-plus"},
}
BASE, PLUS = SYSTEMS
FIGURES = (("mean", ("e2e_s", "mean")), ("P99", ("e2e_s", "p99")), ("throughput in the window", ("window_throughput_rps",)))


def figure_of(run: dict[str, Any], path: Sequence[str]) -> float:
    """A number inside the document of a run."""
    found: Any = run
    for name in path:
        found = found[name]
    return found


def changes(runs: Sequence[dict[str, Any]], rate_rps: float, side: str, path: Sequence[str]) -> list[float]:
    """From the base to lamps-plus, seed by seed, on one side: ``live`` or ``simulated``."""
    found = {(run["system"], run["seed"]): figure_of(run[side], path) for run in runs if run["rate_rps"] == rate_rps}
    return [value / found[BASE, seed] - 1 for (system, seed), value in found.items() if system == PLUS]


def as_table(runs: Sequence[dict[str, Any]]) -> str:
    """The figures of both systems, and how they change, measured and simulated."""
    rows = []
    for rate, (name, path) in product(dict.fromkeys(run["rate_rps"] for run in runs), FIGURES):
        live = [
            fmean(figure_of(run["live"], path) for run in runs if (run["system"], run["rate_rps"]) == (system, rate))
            for system in SYSTEMS
        ]
        shares = [percent(fmean(changes(runs, rate, side, path))) for side in ("live", "simulated")]
        rows.append([f"{rate:g}", name, *(f"{value:.3g}" for value in live), *shares])
    return table(("req/s", "", *(f"{system}, measured" for system in SYSTEMS), "change, measured", "change, simulated"), rows)


def main() -> None:
    """Measures, prints the table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the results")
    parser.add_argument("--rates", default="28,40", help="requests a second, with commas between")
    parser.add_argument("--seeds", default="0,1,2", help="with commas between")
    parser.add_argument(
        "--window", type=float, default=20.0, help="seconds in which requests arrive; all are served to their end"
    )
    arguments = parser.parse_args()
    rates, seeds = [float(text) for text in arguments.rates.split(",")], [int(text) for text in arguments.seeds.split(",")]
    with terminal.progress_bar() as progress:
        machine, workload = small_machine(progress), small_workload()

        def spec(system: str, rate: float, seed: int) -> RunSpec:
            scheduler = SchedulerConfig(**(OPTIONS | SYSTEMS[system]))
            return RunSpec(workload, machine.hardware, scheduler, rate, seed=seed, window_s=arguments.window, drain=True)

        progress("observing", 0, 1)
        machine = with_observed_costs(machine, [spec(system, max(rates), max(seeds) + 1) for system in SYSTEMS])
        runs, cases = list[dict[str, Any]](), list(product(rates, seeds, SYSTEMS))
        for case in cases:
            progress("serving", len(runs), len(cases))
            rate, seed, system = case
            runs.append({"system": system} | compare_latencies(spec(system, rate, seed), machine))
    print(as_table(runs))
    write_document(arguments.out, "live_systems", runs)


if __name__ == "__main__":
    main()
