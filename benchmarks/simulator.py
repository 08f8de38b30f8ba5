"""Steps that the simulator takes per second of one core, with 64 requests that decode.

    python -m benchmarks.simulator --out benchmarks/results/simulator.json

The engine and scheduler that serve, over an executor that charges time: what is measured is planning, and taking in one token
of each request. Requests arrive faster than they can be served, so that the batch is full as far as memory goes and many wait.
They call no tools in one workload; the other is the papers' mixture.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.document import write_document
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.run import seldom_collected
from lamps_jax.sim.simulation import Simulation
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Script, Segment, Span, Workload
from lamps_jax.sim.workloads import load_workload

NUM_RUNNING = 64
MACHINE = HARDWARE["a100-40gb-gptj-6b"]
WITHOUT_CALLS = Workload("no calls", tuple(Script("plain", (Span(100),), (Segment(100 + 10 * n),)) for n in range(20)))


def measure(workload: Workload, policy: str, *, steps: int, warm_up: int) -> dict[str, Any]:
    """Steps per second of the wall's clock, after so many that fill the batch."""
    config = MACHINE.scheduler_config(policy, max_num_seqs=NUM_RUNNING)
    simulation = Simulation(RunSpec(workload, MACHINE, config, rate_rps=20.0, window_s=2e3))
    totals = simulation.executor.totals
    with seldom_collected():
        while totals.num_steps < warm_up:
            simulation.step()
        began, first, running = time.perf_counter(), totals.num_steps, 0
        while totals.num_steps < first + steps:
            simulation.step()
            running += simulation.scheduler.num_running
        seconds = time.perf_counter() - began
    return {
        "workload": workload.name, "policy": policy, "steps": steps, "steps_per_s": steps / seconds, "running": running / steps,
        "waiting": simulation.scheduler.num_waiting,
    }  # fmt: skip


def as_markdown(runs: list[dict[str, Any]]) -> str:
    """The table of docs/performance.md."""
    lines = ["| workload | policy | running | waiting at the end | steps/s |", "|---|---|---|---|---|"]
    lines += [
        f"| {run['workload']} | {run['policy']} | {run['running']:.0f} | {run['waiting']:,} | {run['steps_per_s']:,.0f} |"
        for run in runs
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/simulator.json"), help="where to write the results")
    parser.add_argument("--policies", default="preserve,vllm,infercept,lamps", help="systems, with commas between")
    parser.add_argument("--steps", type=int, default=4000, help="steps timed")
    arguments = parser.parse_args()
    workloads = (WITHOUT_CALLS, load_workload("multi-api"))
    runs = [
        measure(workload, policy, steps=arguments.steps, warm_up=2000)
        for workload, policy in product(workloads, arguments.policies.split(","))
    ]
    print(as_markdown(runs))
    write_document(arguments.out, "simulator", runs)


if __name__ == "__main__":
    main()
