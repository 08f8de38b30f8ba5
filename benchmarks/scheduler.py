"""What the scheduler's own decisions cost: time of ``schedule()`` and ``update()`` against the number of requests that wait.

    python -m benchmarks.scheduler --out benchmarks/results/scheduler.json

A real scheduler with 64 running requests that decode, and as many waiting as asked for, whose prompts do not fit beside them; its
steps are answered at once, so that nothing but Python is timed. Waiting requests are ranked in the way of each policy, and ranked
anew, as they would be in service. All cases take turns, so that they see the same machine. The curve beside the results shows
whether a step takes longer the more requests wait.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.document import summary, write_document
from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler

NUM_RUNNING, PROMPT_TOKENS, BLOCK_SIZE = 64, 200, 64
COSTS = CostModel(16.92e-3, 40.8e-6, 3e-8, 1e-4, 2.9e-3)


def crowded(policy: str, num_waiting: int) -> Scheduler:
    """A scheduler whose batch is full and decodes, with so many requests behind it."""
    config = SchedulerConfig(
        policy=policy,
        token_budget=512,
        max_chunk_tokens=512,
        max_num_seqs=NUM_RUNNING,
        max_model_len=8192,
        prefix_cache=False,
        rank_preemption=False,
    )
    blocks = BlockManager(1 + NUM_RUNNING * (8192 // BLOCK_SIZE), BLOCK_SIZE)
    scheduler = Scheduler(config, blocks, COSTS)
    for number in range(NUM_RUNNING + num_waiting):
        tokens = PROMPT_TOKENS if number < NUM_RUNNING else PROMPT_TOKENS + number % 97
        scheduler.add(Request(f"r{number}", 0.0, [1] * tokens, SamplingParams(max_tokens=7000)))
    while len((plan := scheduler.schedule(0.0)).decodes) < NUM_RUNNING:
        scheduler.update(result_of(plan), 0.0)
    scheduler.update(result_of(plan), 0.0)
    return scheduler


def result_of(plan: StepPlan) -> StepResult:
    """What a device would answer."""
    rows = [*(chunk for chunk in plan.prefills if chunk.sample), *plan.decodes]
    return StepResult(plan.step_id, {row.request_id: 7 for row in rows})


class Timed:
    """One case: a crowded scheduler and the times of its steps so far."""

    def __init__(self, policy: str, num_waiting: int):
        self.policy, self.num_waiting = policy, num_waiting
        self._scheduler, self._now = crowded(policy, num_waiting), 0.0
        self._schedule_s: list[list[float]] = []
        self._update_s: list[list[float]] = []

    def run(self, num_steps: int) -> None:
        """Times so many steps in a row."""
        scheduler, schedules, updates = self._scheduler, list[float](), list[float]()
        for _ in range(num_steps):
            self._now += 0.03
            began = time.perf_counter()
            plan = scheduler.schedule(self._now)
            planned = time.perf_counter()
            result = result_of(plan)
            answered = time.perf_counter()
            scheduler.update(result, self._now)
            updates.append(time.perf_counter() - answered)
            schedules.append(planned - began)
            assert len(plan.decodes) == NUM_RUNNING
        self._schedule_s.append(schedules)
        self._update_s.append(updates)

    def as_run(self) -> dict[str, Any]:
        """The times of the fastest half of the rounds: what else the machine did shows in the others."""
        kept = sorted(range(len(self._schedule_s)), key=lambda at: statistics.median(self._schedule_s[at]))
        kept = kept[: -(-len(kept) // 2)]
        return {
            "policy": self.policy,
            "running": NUM_RUNNING,
            "waiting": self.num_waiting,
            "schedule_s": summary([value for at in kept for value in self._schedule_s[at]]),
            "update_s": summary([value for at in kept for value in self._update_s[at]]),
        }


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """The curve: microseconds against waiting requests, both on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for policy, marker in zip(dict.fromkeys(run["policy"] for run in runs), "osD^v", strict=False):
        mine = [run for run in runs if run["policy"] == policy]
        axes.plot([run["waiting"] for run in mine], [1e6 * run["schedule_s"]["p50"] for run in mine], marker=marker, label=policy)
    axes.set(
        xscale="log", xlabel=f"waiting requests, beside {NUM_RUNNING} running", ylabel="schedule(), µs (median)", ylim=(0, None)
    )
    axes.legend()
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scheduler.json"), help="where to write the results")
    parser.add_argument("--picture", type=Path, help="where to draw the curve, as PNG or SVG; nowhere by default")
    parser.add_argument("--policies", default="preserve,infercept,lamps,plas", help="policies to measure")
    parser.add_argument("--waiting", default="10,100,1000,10000,100000", help="numbers of waiting requests")
    parser.add_argument("--steps", type=int, default=100, help="steps timed in a row")
    parser.add_argument("--rounds", type=int, default=10, help="times that each case has its turn")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.waiting.split(",")]
    cases = [Timed(policy, size) for policy in arguments.policies.split(",") for size in sizes]
    gc.collect()
    gc.freeze()
    gc.disable()
    for _ in range(arguments.rounds):
        for case in cases:
            case.run(arguments.steps)
    print(f"{'policy':<16}{'waiting':>8}{'schedule µs (median, 99th)':>28}{'update µs':>11}")
    runs = [case.as_run() for case in cases]
    for run in runs:
        median, tail = (1e6 * run["schedule_s"][name] for name in ("p50", "p99"))
        print(f"{run['policy']:<16}{run['waiting']:>8}{median:>19.0f}{tail:>9.0f}{1e6 * run['update_s']['p50']:>11.0f}")
    write_document(arguments.out, "scheduler", runs)
    if arguments.picture:
        draw(runs, arguments.picture)


if __name__ == "__main__":
    main()
