"""Sessions of coding agents, simulated: what becomes of long contexts while tools run.

    python -m benchmarks.beyond.agents --gaps agent_gaps.csv        # two minutes

The recorded sessions (docs/workloads.md, "agent gaps") are played with lengths and times a sixteenth of what they were, so
that one fits the pool of GPT-J's machine, and as requests whose tools the server runs: each gap is a call, and what the next
prompt adds is what it returns. A session ends where its client dropped a part of its history. What policies know they learn
while serving.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.beyond.numbers import percent, table
from benchmarks.document import write_document
from benchmarks.reproduction.case import GPTJ
from benchmarks.reproduction.pool import ROOT
from lamps_jax import terminal
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.reshape import Shape, capped
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.sweep import simulate_all
from lamps_jax.sim.workload import Call, Script, Workload, context_after
from lamps_jax.sim.workloads import load_workload

RESULTS = ROOT / "benchmarks/results/agent_sessions.json"
SCALE = 1 / 16
MAX_CONTEXT_TOKENS = 16_000
KEPT_SHARE = 0.8
"""Of a context, that the next prompt must begin with for the session to go on."""

POLICIES = ("lamps", "infercept", "continuum", "lamps-plus")
RATES = (0.1, 0.3)
WINDOW_S = 600.0


def served(script: Script) -> Script:
    """The session as one request, whose calls are its gaps."""
    segments, context = [], script.num_prompt_tokens
    for segment in script.segments:
        context += segment.num_generated_tokens
        call = segment.call
        following = context if call is None else context_after(context, call)
        dropped = call is not None and call.num_kept_tokens is not None and call.num_kept_tokens < KEPT_SHARE * context
        if call is None or dropped or following < context:
            segments.append(replace(segment, call=None))
            break
        segments.append(replace(segment, call=Call("agent", call.duration_s, following - context)))
        context = following
    return capped(replace(script, segments=tuple(segments)), MAX_CONTEXT_TOKENS)


def workload_of(gaps: Path) -> Workload:
    """The recorded sessions, scaled."""
    scaled = Shape(token_scale=SCALE, duration_scale=SCALE).apply(load_workload(gaps))
    return replace(scaled, scripts=tuple(map(served, scaled.scripts)))


def spec_of(workload: Workload, policy: str, rate_rps: float) -> RunSpec:
    """A drained run."""
    machine = replace(HARDWARE[GPTJ], max_model_len=MAX_CONTEXT_TOKENS + 64)
    config = machine.scheduler_config(policy)
    return RunSpec(workload, machine, config, rate_rps, window_s=WINDOW_S, drain=True, prediction="history")


def as_table(runs: list[dict[str, Any]]) -> str:
    """Times without the gaps themselves, which no policy can shorten, and with them."""
    rows = []
    for run in runs:
        base = next(other for other in runs if other["rate_rps"] == run["rate_rps"] and other["policy"] == "lamps")
        change = percent(run["service_s"]["mean"] / base["service_s"]["mean"] - 1)
        rows.append(
            [
                f"{run['rate_rps']:g}", run["policy"], f"{run['service_s']['mean']:.1f}", change,
                f"{run['service_s']['p99']:.1f}",
                f"{run['e2e_s']['mean']:.1f}", f"{run['recomputed_tokens'] / 1e3:,.0f}",
            ]
        )  # fmt: skip
    times = ("without gaps, mean, s", "to lamps", "P99, s", "with gaps, mean, s")
    heads = ("sessions/s", "system", *times, "recomputed, thousand tokens")
    return table(heads, rows)


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaps", type=Path, required=True, help="the recorded sessions: a CSV file of agent gaps")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the results")
    arguments = parser.parse_args()
    if not arguments.gaps.is_file():
        parser.error(f"--gaps must be a file of agent gaps (docs/workloads.md says its format), got {str(arguments.gaps)!r}")
    workload = workload_of(arguments.gaps)
    specs = [spec_of(workload, policy, rate) for rate in RATES for policy in POLICIES]
    with terminal.progress_bar() as progress:
        found = simulate_all(specs, progress=lambda done, total: progress("simulating", done, total))
    names = (
        "policy",
        "rate_rps",
        "arrived",
        "finished",
        "e2e_s",
        "service_s",
        "recomputed_tokens",
        "swapped_tokens",
        "preemptions",
    )
    runs = [{name: run[name] for name in names} for run in found]
    contexts = fmean(script.num_final_tokens for script in workload.scripts)
    print(f"{len(workload.scripts)} sessions, {contexts:,.0f} tokens at their end on the average\n{as_table(runs)}")
    write_document(arguments.out, "agent_sessions", runs)


if __name__ == "__main__":
    main()
