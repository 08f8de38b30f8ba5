"""``lamps-jax bench``: policies compared in real time, on the engine of this process; or a server that runs already."""

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from lamps_jax.options import (
    COMPILE_CACHE,
    AdmissionOption,
    AgingOption,
    AgingSecondsOption,
    ApplyHandlingOption,
    AttentionOption,
    CacheOption,
    CallCostsOption,
    CallDurationOption,
    DemotionOption,
    DtypeOption,
    HostKvBytesOption,
    KvBlocksOption,
    LoadFormatOption,
    LookaheadOption,
    MaxModelLenOption,
    MaxNumSeqsOption,
    ModelOption,
    ProgramLimitOption,
    QuantizeOption,
    RankPreemptionOption,
    RankRefreshOption,
    StarvationScopeOption,
    StarvationThresholdOption,
    TensorParallelOption,
    TokenBudgetOption,
    number_of_bytes,
)
from lamps_jax.sched.policy import SYSTEMS, system_named
from lamps_jax.sim.workloads import WORKLOADS
from lamps_jax.study.arguments import names_of, objectives_of, one_source, rates_of, whole_numbers_of
from lamps_jax.study.output import tell

PAPERS_CONTEXT_TOKENS = 2048
"""The longest context of the papers' workloads, which are scaled to the model's."""


def bench(
    workload: Annotated[
        str | None,
        typer.Option(help="What clients ask for: " + "; ".join(f"'{n}': {w.about}" for n, w in WORKLOADS.items()) + "."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Instead of --workload: a trace file; its format is recognised (docs/workloads.md).")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="A server of the OpenAI API that runs already, such as http://127.0.0.1:8000: requests go there, and calls are "
            "run here, between two requests. What is said of the engine and of policies is then the server's business."
        ),
    ] = None,
    policy: Annotated[
        str, typer.Option(metavar="NAMES", help="Policies, with commas between: " + ", ".join(SYSTEMS) + ".")
    ] = "vllm,infercept,lamps",
    rate: Annotated[
        str, typer.Option(metavar="RATES", help="Requests per second, with commas between; 'trace' for the trace's own times.")
    ] = "2",
    seed: Annotated[str, typer.Option(metavar="SEEDS", help="Seeds of the arrivals, with commas between.")] = "0",
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Requests arrive, and count if they finish, until then.")
    ] = 60.0,
    drain: Annotated[bool, typer.Option("--drain", help="Serve what has arrived to its end, and count it all.")] = False,
    token_scale: Annotated[
        float | None,
        typer.Option(help="Multiplies all lengths; by default such that 2,048 tokens, the papers' longest, become the context."),
    ] = None,
    duration_scale: Annotated[float, typer.Option(help="Multiplies the durations of calls.")] = 0.1,
    prediction: Annotated[
        str,
        typer.Option(help="What policies know ahead: 'oracle', 'class-mean' (other requests of the type), 'history' (learned)."),
    ] = "oracle",
    noise: Annotated[float, typer.Option(help="Deviation of normal errors of the oracle, as a share: 0.1 is 10 %.")] = 0.0,
    model: ModelOption = "embedded",
    served_model: Annotated[
        str | None, typer.Option(help="With --url: the model's name there; by default the first it lists.")
    ] = None,
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="With --url: the key to send.")] = "",
    dtype: DtypeOption = "float32",
    max_model_len: MaxModelLenOption = 512,
    max_num_seqs: MaxNumSeqsOption = 16,
    token_budget: TokenBudgetOption = None,
    kv_blocks: KvBlocksOption = None,
    host_kv_bytes: HostKvBytesOption = "64M",
    attention: AttentionOption = "auto",
    prefix_cache: Annotated[bool, typer.Option("--prefix-cache", help="Let blocks be found again by their content.")] = False,
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
    goodput: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:SECONDS",
            help="Within what a request must keep to count as goodput: some of ttft, tpot, e2e, as in 'ttft:2,tpot:0.1'.",
        ),
    ] = None,
    compile_cache: CacheOption = COMPILE_CACHE,
    tensor_parallel: TensorParallelOption = 1,
    quantize: QuantizeOption = None,
    load_format: LoadFormatOption = "auto",
    num_scripts: Annotated[int, typer.Option(help="Scripts that a generated workload draws from.")] = 1000,
    details: Annotated[
        bool, typer.Option("--details", help="Also note latencies of each request, memory over time and a timeline, for figures.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write results.json, tables and figures there.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results document instead of the table.")] = False,
) -> None:
    """Serve a workload in real time under each policy, on this machine's engine, and print and draw what comes of it.

    Requests are lengths alone: prompts are random, answers as long as the script says, and calls sleep. The first run of all
    loads and measures the model; docs/benchmarking.md explains the rest.

    Example: lamps-jax bench --policy infercept,lamps --rate 4 --window 30
    """
    from lamps_jax import terminal
    from lamps_jax.report.document import new_document
    from lamps_jax.sim.reshape import Shape
    from lamps_jax.sim.spec import Record, RunSpec
    from lamps_jax.sim.workloads import load_workload

    source, policies = one_source(workload, trace), names_of(policy)
    for name in policies:
        system_named(name)
    rates, seeds, objectives = rates_of(rate), whole_numbers_of("--seed", seed), objectives_of(goodput)
    scale = token_scale if token_scale is not None else min(1.0, max_model_len / PAPERS_CONTEXT_TOKENS)
    shape = Shape(token_scale=scale, duration_scale=duration_scale, max_context_tokens=max_model_len)
    scripts = load_workload(source, num_scripts=num_scripts, shape=shape)
    record = Record(latencies=True, occupancy=True, timeline=100, running_mean=True) if details else Record()
    if url is not None:
        from lamps_jax.bench.remote import RemoteServer, run_remote

        server = RemoteServer.connect(url, model=served_model, api_key=api_key)
        runs = []
        with terminal.progress_bar() as progress:
            for each_rate, each_seed in product(rates, seeds):
                progress("serving", len(runs), len(rates) * len(seeds))
                runs.append(
                    run_remote(
                        server, scripts, rate_rps=each_rate, seed=each_seed, window_s=window, drain=drain, objectives=objectives,
                        record=record,
                    )
                )  # fmt: skip
        tell(new_document("bench", runs), out, json_output=json_output)
        return

    from lamps_jax.bench.live import run_live
    from lamps_jax.bench.machine import prepare_machine
    from lamps_jax.config import EngineConfig, SchedulerConfig
    from lamps_jax.engine.build import model_directory

    budget = token_budget if token_budget is not None else max(256, max_num_seqs)
    options: dict[str, Any] = {
        "token_budget": budget, "max_chunk_tokens": budget, "max_num_seqs": max_num_seqs, "max_model_len": max_model_len,
        "max_calls": 10**9, "prefix_cache": prefix_cache, "admission": admission,
        "starvation_threshold": starvation_threshold, "starvation_scope": starvation_scope,
        "rank_refresh_steps": rank_refresh_steps, "rank_preemption": rank_preemption, "apply_handling": apply_handling,
        "lookahead": lookahead, "call_duration": call_duration,
        "aging": aging, "aging_s": aging_s, "call_costs": call_costs, "demotion": demotion,
        "program_limit": program_limit,
    }  # fmt: skip
    config = EngineConfig(
        SchedulerConfig(**options),
        num_blocks=kv_blocks,
        host_kv_bytes=number_of_bytes(host_kv_bytes),
        attention=attention,
        dtype=dtype,
        compile_cache=compile_cache,
        tensor_parallel=tensor_parallel,
        quantize=quantize,
        load_format=load_format,
    )
    with terminal.progress_bar() as progress:
        machine = prepare_machine(model_directory(model), config, progress=progress)
        most = machine.hardware.max_model_len
        options |= {"max_model_len": most}
        if most < max_model_len:
            scripts = Shape(max_context_tokens=most).apply(scripts)
        specs = [
            RunSpec(
                scripts,
                machine.hardware,
                SchedulerConfig(policy=name, **options),
                each_rate,
                seed=each_seed,
                window_s=window,
                drain=drain,
                arrivals="trace" if each_rate is None else "poisson",
                prediction=prediction,  # pyright: ignore[reportArgumentType]  # checked when built
                noise=noise,
                objectives=objectives,
                record=record if each_seed == seeds[0] else replace(Record(), latencies=details),
            )
            for each_rate, name, each_seed in product(rates, policies, seeds)
        ]
        runs = []
        for spec in specs:
            progress(f"serving {spec.scheduler.policy}", len(runs), len(specs))
            runs.append(run_live(spec, machine))
            progress(f"serving {spec.scheduler.policy}", len(runs), len(specs))
    sys.stderr.write(
        f"{scripts.name}: {len(scripts.scripts):,} scripts; lengths times {scale:g}, calls times {duration_scale:g}\n"
    )
    tell(new_document("bench", runs), out, json_output=json_output)
