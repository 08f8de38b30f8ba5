"""``lamps-jax simulate``: policies compared in virtual time, on machines that need not be here."""

import sys
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from lamps_jax.options import (
    AdmissionOption,
    AgingOption,
    AgingSecondsOption,
    ApplyHandlingOption,
    CallCostsOption,
    CallDurationOption,
    DemotionOption,
    LookaheadOption,
    ProgramLimitOption,
    RankPreemptionOption,
    RankRefreshOption,
    StarvationScopeOption,
    StarvationThresholdOption,
    TokenBudgetOption,
)
from lamps_jax.sched.policy import SYSTEMS, system_named
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.workloads import DEFAULT_NUM_SCRIPTS, WORKLOADS
from lamps_jax.study.arguments import names_of, objectives_of, one_source, rates_of, whole_numbers_of
from lamps_jax.study.output import tell


def simulate(
    workload: Annotated[
        str | None,
        typer.Option(help="What clients ask for: " + "; ".join(f"'{n}': {w.about}" for n, w in WORKLOADS.items()) + "."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Instead of --workload: a trace file; its format is recognised (docs/workloads.md).")
    ] = None,
    policy: Annotated[
        str, typer.Option(metavar="NAMES", help="Policies, with commas between: " + ", ".join(SYSTEMS) + ".")
    ] = "vllm,infercept,lamps",
    rate: Annotated[
        str, typer.Option(metavar="RATES", help="Requests per second, with commas between; 'trace' for the trace's own times.")
    ] = "3",
    hardware: Annotated[
        str, typer.Option(help="Machine and model: " + ", ".join(HARDWARE) + "; or what `lamps-jax doctor --json` wrote.")
    ] = "a100-40gb-gptj-6b",
    seed: Annotated[str, typer.Option(metavar="SEEDS", help="Seeds of the arrivals, with commas between.")] = "0",
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Requests arrive, and count if they finish, until then.")
    ] = 1800.0,
    drain: Annotated[
        bool, typer.Option("--drain", help="Serve what has arrived to its end, however long it takes, and count it all.")
    ] = False,
    prediction: Annotated[
        str,
        typer.Option(
            help="What policies know: 'oracle', 'class-mean' (of other requests of the type), 'history' (learned), 'none'."
        ),
    ] = "oracle",
    noise: Annotated[float, typer.Option(help="Deviation of normal errors of the oracle, as a share: 0.1 is 10 %.")] = 0.0,
    arrivals: Annotated[str, typer.Option(help="'poisson', 'gamma' (see --cv) or 'trace'.")] = "poisson",
    cv: Annotated[float, typer.Option(help="Deviation of the gaps of gamma arrivals over their mean.")] = 1.0,
    token_budget: TokenBudgetOption = None,
    admission: AdmissionOption = None,
    starvation_threshold: StarvationThresholdOption = 100,
    starvation_scope: StarvationScopeOption = None,
    rank_refresh_steps: RankRefreshOption = 16,
    rank_preemption: RankPreemptionOption = None,
    apply_handling: ApplyHandlingOption = None,
    lookahead: LookaheadOption = None,
    call_duration: CallDurationOption = "elapsed",
    aging: AgingOption = None,
    aging_s: AgingSecondsOption = None,
    call_costs: CallCostsOption = None,
    demotion: DemotionOption = None,
    program_limit: ProgramLimitOption = None,
    prefix_cache: Annotated[bool, typer.Option("--prefix-cache", help="Let blocks be found again by their content.")] = False,
    goodput: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:SECONDS",
            help="Within what a request must keep to count as goodput: some of ttft, tpot, e2e, as in 'ttft:2,tpot:0.1'.",
        ),
    ] = None,
    num_scripts: Annotated[int, typer.Option(help="Scripts that a generated workload draws from.")] = DEFAULT_NUM_SCRIPTS,
    details: Annotated[
        bool, typer.Option("--details", help="Also note latencies of each request, memory over time and a timeline, for figures.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="Runs at once; by default as many as there are cores.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write results.json, tables and figures there.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results document instead of the table.")] = False,
) -> None:
    """Serve a workload in virtual time, on a machine that need not be here, under each policy; print and draw what comes of it.

    Engine and scheduler are those that serve; only the device is replaced by what its steps cost (docs/simulator.md).

    Example: lamps-jax simulate --workload single-api --policy infercept,lamps --rate 2,3,4 --window 600 --out build/study
    """
    from lamps_jax import terminal
    from lamps_jax.report.document import new_document
    from lamps_jax.sim.hardware import hardware_named
    from lamps_jax.sim.prefixes import prefix_hit_rate
    from lamps_jax.sim.reshape import Shape
    from lamps_jax.sim.spec import Record, RunSpec
    from lamps_jax.sim.sweep import simulate_all
    from lamps_jax.sim.workloads import load_workload

    source = one_source(workload, trace)
    machine, policies = hardware_named(hardware), names_of(policy)
    for name in policies:
        system_named(name)
    rates, seeds = rates_of(rate), whole_numbers_of("--seed", seed)
    shape = Shape(max_context_tokens=machine.max_model_len)
    scripts = load_workload(source, num_scripts=num_scripts, shape=shape)
    options: dict[str, Any] = {
        "admission": admission,
        "starvation_threshold": starvation_threshold,
        "starvation_scope": starvation_scope,
        "rank_refresh_steps": rank_refresh_steps,
        "rank_preemption": rank_preemption,
        "apply_handling": apply_handling,
        "lookahead": lookahead,
        "call_duration": call_duration,
        "aging": aging,
        "aging_s": aging_s,
        "call_costs": call_costs,
        "demotion": demotion,
        "program_limit": program_limit,
    }
    if token_budget is not None:
        options |= {"token_budget": token_budget, "max_chunk_tokens": token_budget}
    objectives = objectives_of(goodput)
    record = Record(latencies=True, occupancy=True, timeline=100, running_mean=True) if details else Record()
    specs = [
        RunSpec(
            scripts,
            machine,
            machine.scheduler_config(name, prefix_cache=prefix_cache, **options),
            each_rate,
            seed=each_seed,
            window_s=window,
            drain=drain,
            arrivals="trace" if each_rate is None else arrivals,
            cv=cv,
            prediction=prediction,  # pyright: ignore[reportArgumentType]  # checked when built
            noise=noise,
            objectives=objectives,
            record=record if each_seed == seeds[0] else Record(latencies=details),
        )
        for each_rate, name, each_seed in product(rates, policies, seeds)
    ]
    with terminal.progress_bar() as progress:
        runs = simulate_all(specs, jobs=jobs, progress=lambda done, total: progress("simulating", done, total))
    document = new_document("simulate", runs)
    hit_rate = prefix_hit_rate(scripts.scripts, block_size=machine.block_size)
    found = f"a cache that never forgets would hold {hit_rate:.1%} of their prompts"
    sys.stderr.write(f"{scripts.name}: {len(scripts.scripts):,} scripts; {found}\n")
    tell(document, out, json_output=json_output)
