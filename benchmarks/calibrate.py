"""How fast a simulated A100 reads contexts: the one constant of the papers' machines that is calibrated, and what hangs on it.

    python -m benchmarks.calibrate --out benchmarks/results/calibrate.json

InferCept's and LAMPS's figures have InferCept saturated near 2 requests a second on the mixture with several calls. The published
fit of a step's time (16.92 ms + 0.0408 ms a token) lets a 40 GB A100 serve far more. What the fit leaves out is the time in which
attention reads keys and values, which grows with the contexts in the batch. This simulates several rates of reading at an
arrival rate that overloads all, and prints what the systems finish a second: the rate at which InferCept finishes 2 is taken.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.document import write_document
from lamps_jax import terminal
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.sweep import simulate_all
from lamps_jax.sim.workloads import load_workload

MACHINE = "a100-40gb-gptj-6b-linear"
POLICIES = ("vllm", "infercept", "lamps")


def main() -> None:
    """Simulates, prints the table of docs/simulator.md and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/calibrate.json"), help="where to write the results")
    parser.add_argument("--microseconds", default="0,0.35,0.7,1.0,1.2,1.4,2.0", help="to read a token of context")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second that arrive")
    parser.add_argument("--window", type=float, default=600.0, help="seconds")
    arguments = parser.parse_args()
    readings = [float(text) for text in arguments.microseconds.split(",")]
    workload = load_workload("multi-api")
    specs = [
        RunSpec(
            workload, machine := HARDWARE[MACHINE].reading(1e-6 * reading), machine.scheduler_config(policy), arguments.rate,
            window_s=arguments.window,
        )
        for reading, policy in product(readings, POLICIES)
    ]  # fmt: skip
    with terminal.progress_bar() as progress:
        runs = simulate_all(specs, progress=lambda done, total: progress("simulating", done, total))
    table: dict[float, list[dict[str, Any]]] = {}
    for (reading, _), run in zip(product(readings, POLICIES), runs, strict=True):
        table.setdefault(reading, []).append(run)
    sys.stdout.write(as_markdown(table) + "\n")
    write_document(
        arguments.out,
        "calibrate",
        [{"per_context_token_s": 1e-6 * reading} | run for reading, row in table.items() for run in row],
    )


def as_markdown(table: dict[float, list[dict[str, Any]]]) -> str:
    """Requests finished a second, a row for each time of reading."""
    lines = ["| µs a token of context | " + " | ".join(POLICIES) + " |", "|---|" + "---|" * len(POLICIES)]
    for reading, runs in table.items():
        lines.append(f"| {reading:g} | " + " | ".join(f"{run['throughput_rps']:.2f}" for run in runs) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
