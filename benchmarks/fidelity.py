"""The simulator against the engine: the same scripts, the same policy, the machine's measured costs.

    python -m benchmarks.fidelity --out benchmarks/results/fidelity.json

*Plans.* The engine runs on the device, all tokens are computed and all copies made, but its clock is the simulator's: each step
lasts as long as the measured cost model says. Step by step its plans are compared with those of the simulation, which computes
nothing. They are the same, or what a device gives back has changed what is decided.

*Latencies.* The engine runs in real time, calls sleep, and the clock is the one on the wall. Its latencies, over everything that
arrived, are compared with those of the simulation of the same run. What a step costs there is fitted to the steps of runs of each
policy before, with other arrivals: beside the device's work they have the scheduler's, the engine's and that of the threads that
sleep, on the same cores.

The model is the embedded one, the workload the papers' mixture with lengths a quarter and calls a twentieth as long; the pool is
so small that memory is what requests wait for.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.document import write_document
from lamps_jax import terminal
from lamps_jax.bench.live import LiveRun, run_live
from lamps_jax.bench.machine import LiveMachine, prepare_machine
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL, Progress
from lamps_jax.engine.protocols import Executor
from lamps_jax.options import COMPILE_CACHE
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sim.clock import VirtualClock
from lamps_jax.sim.executor import SimExecutor, Submitted
from lamps_jax.sim.player import Parts, Player
from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.run import simulate
from lamps_jax.sim.scripted import VirtualApiRunner
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Workload
from lamps_jax.sim.workloads import load_workload

POLICIES = ("vllm", "infercept", "lamps")
MAX_MODEL_LEN, MAX_NUM_SEQS, TOKEN_BUDGET = 512, 16, 128
KV_BLOCKS, HOST_KV_BYTES = 1 + 128, 64 * 2**20
OPTIONS: dict[str, Any] = {
    "token_budget": TOKEN_BUDGET, "max_chunk_tokens": TOKEN_BUDGET, "max_num_seqs": MAX_NUM_SEQS,
    "max_model_len": MAX_MODEL_LEN, "max_calls": 10**9, "prefix_cache": False,
}  # fmt: skip
STATISTICS = (("e2e_s", "mean"), ("e2e_s", "p99"), ("ttft_s", "mean"), ("ttft_s", "p99"))

PlanKey = tuple[Any, ...]


def key_of(plan: StepPlan) -> PlanKey:
    """All that a plan decides: who computes which tokens on which blocks, and what is copied."""
    return (
        tuple((each.request_id, each.start, len(each.token_ids), tuple(each.block_ids), each.sample) for each in plan.prefills),
        tuple((each.request_id, each.position, tuple(each.block_ids)) for each in plan.decodes),
        tuple(plan.swap_outs),
        tuple(plan.swap_ins),
    )


class ComputingExecutor(SimExecutor):
    """Charges what steps cost, and computes them; without a device it only charges. Keeps the plans."""

    def __init__(self, clock: VirtualClock, machine: LiveMachine, device: Executor | None):
        super().__init__(clock, machine.hardware.cost_model)
        self.plans: list[PlanKey] = []
        self._device, self._handles = device, list[Any]()

    def submit(self, plan: StepPlan) -> Submitted:
        """Starts a step."""
        self.plans.append(key_of(plan))
        if self._device is not None:
            self._handles.append(self._device.submit(plan))
        return super().submit(plan)

    def collect(self, handle: Submitted) -> StepResult:
        """Lets its time pass; what was sampled is the device's."""
        charged = super().collect(handle)
        return charged if self._device is None else self._device.collect(self._handles.pop(0))


def small_machine(progress: Progress) -> LiveMachine:
    """The embedded model with the small pool."""
    config = EngineConfig(
        SchedulerConfig(**OPTIONS), num_blocks=KV_BLOCKS, host_kv_bytes=HOST_KV_BYTES, compile_cache=COMPILE_CACHE
    )
    return prepare_machine(EMBEDDED_MODEL, config, progress=progress)


def small_workload() -> Workload:
    """The papers' mixture with lengths a quarter and calls a twentieth as long."""
    shape = Shape(token_scale=0.25, duration_scale=0.05, max_context_tokens=MAX_MODEL_LEN)
    return load_workload("multi-api", num_scripts=1000, shape=shape)


def plans_of(spec: RunSpec, machine: LiveMachine, device: Executor | None) -> list[PlanKey]:
    """Every plan of a run in virtual time, on a device or without one."""
    clock = VirtualClock()
    executor = ComputingExecutor(clock, machine, device)
    machine.executor.host_pool.clear()
    player = Player(spec, Parts(clock, executor, VirtualApiRunner(clock), vocab_size=machine.vocab_size))
    player.run()
    return executor.plans


def compare_plans(spec: RunSpec, machine: LiveMachine) -> dict[str, Any]:
    """How many plans there were, how many before the first that differs, and what they did."""
    simulated, computed = plans_of(spec, machine, None), plans_of(spec, machine, machine.executor)
    same = next((at for at, pair in enumerate(zip(simulated, computed, strict=False)) if pair[0] != pair[1]), len(simulated))
    return {
        "compared": "plans", "policy": spec.scheduler.policy, "rate_rps": spec.rate_rps, "seed": spec.seed,
        "plans": len(computed), "simulated_plans": len(simulated), "same_plans": min(same, len(computed)),
        "swapped_blocks": sum(len(plan[2]) + len(plan[3]) for plan in computed),
    }  # fmt: skip


def compare_latencies(spec: RunSpec, machine: LiveMachine) -> dict[str, Any]:
    """What the engine measured, and what the simulator says of the same run."""
    live, simulated = run_live(spec, machine), simulate(spec)
    kept = (
        "arrived", "finished", "num_steps", "preemptions", "recomputed_tokens", "swapped_tokens", "simulated_s", "step_s",
        "window_throughput_rps",
    )  # fmt: skip
    return {
        "compared": "latencies", "policy": spec.scheduler.policy, "rate_rps": spec.rate_rps, "seed": spec.seed,
        "live": {name: live[name] for name in (*kept, "e2e_s", "ttft_s")},
        "simulated": {name: simulated[name] for name in (*kept, "e2e_s", "ttft_s")},
    }  # fmt: skip


def with_observed_costs(machine: LiveMachine, specs: Sequence[RunSpec]) -> LiveMachine:
    """The machine with the costs of steps fitted to those of its engine in some runs: least squares, no coefficient negative."""
    sizes, step_s = list[tuple[int, int, int]](), list[float]()
    for spec in specs:
        run = LiveRun(spec, machine)
        run.run()
        sizes += run.timed.sizes
        step_s += run.timed.step_s
    tokens, contexts, chunks = np.array(sizes, float).T
    fitted, _ = nnls(np.stack([np.ones(len(tokens)), tokens, contexts, chunks], axis=1), np.array(step_s))
    names = ("forward_base_s", "forward_per_token_s", "forward_per_context_token_s", "forward_per_chunk_s")
    costs = replace(machine.hardware.cost_model, **dict(zip(names, fitted.tolist(), strict=True)))
    return replace(machine, hardware=replace(machine.hardware, cost_model=costs, source="fitted to steps of its engine"))


def error_of(run: dict[str, Any], latency: str, statistic: str) -> float:
    """Of the simulated figure, relative to the measured one."""
    return run["simulated"][latency][statistic] / run["live"][latency][statistic] - 1.0


def as_markdown(runs: list[dict[str, Any]]) -> str:
    """The tables of docs/benchmarking.md."""
    lines = ["| policy | rate, req/s | plans compared | the same | blocks copied |", "|---|---:|---:|---:|---:|"]
    for run in runs:
        if run["compared"] == "plans":
            counts = f"{run['plans']:,} | {run['same_plans']:,} | {run['swapped_blocks']:,}"
            lines.append(f"| {run['policy']} | {run['rate_rps']:g} | {counts} |")
    lines += [
        "",
        "| policy | req/s | E2E mean, s | simulated | E2E P99, s | simulated | TTFT mean, s | simulated | evicted | simulated |",
        "|---|---:|" + "---:|" * 8,
    ]
    measured = [run for run in runs if run["compared"] == "latencies"]
    for policy, rate in dict.fromkeys((run["policy"], run["rate_rps"]) for run in measured):
        seeds = [run for run in measured if (run["policy"], run["rate_rps"]) == (policy, rate)]
        cells = []
        for latency, statistic in STATISTICS[:3]:
            mean = statistics.fmean(run["live"][latency][statistic] for run in seeds)
            cells += [f"{mean:.3g}", f"{100 * statistics.fmean(error_of(run, latency, statistic) for run in seeds):+.1f} %"]
        evicted = [statistics.fmean(run[side]["preemptions"] for run in seeds) for side in ("live", "simulated")]
        lines.append(f"| {policy} | {rate:g} | {' | '.join(cells)} | {evicted[0]:.0f} | {evicted[1]:.0f} |")
    return "\n".join(lines).replace(" -", " \N{MINUS SIGN}")


def main() -> None:
    """Measures, prints the tables and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fidelity.json"), help="where to write the results")
    parser.add_argument("--rates", default="12,24", help="requests a second, with commas between")
    parser.add_argument("--seeds", default="0,1,2", help="of the runs in real time, with commas between")
    parser.add_argument(
        "--window", type=float, default=25.0, help="seconds in which requests arrive; all are served to their end"
    )
    arguments = parser.parse_args()
    rates, seeds = [float(text) for text in arguments.rates.split(",")], [int(text) for text in arguments.seeds.split(",")]
    with terminal.progress_bar() as progress:
        machine, workload = small_machine(progress), small_workload()

        def spec(policy: str, rate: float, seed: int) -> RunSpec:
            scheduler = SchedulerConfig(policy=policy, **OPTIONS)
            return RunSpec(workload, machine.hardware, scheduler, rate, seed=seed, window_s=arguments.window, drain=True)

        cases = list(product(POLICIES, rates, seeds))
        progress("observing", 0, 1)
        machine = with_observed_costs(machine, [spec(policy, max(rates), max(seeds) + 1) for policy in POLICIES])
        runs = [compare_plans(spec(policy, rate, seeds[0]), machine) for policy, rate in product(POLICIES, rates)]
        for case in cases:
            progress("serving", cases.index(case), len(cases))
            runs.append(compare_latencies(spec(*case), machine))
    print(as_markdown(runs))
    write_document(arguments.out, "fidelity", runs)


if __name__ == "__main__":
    main()
