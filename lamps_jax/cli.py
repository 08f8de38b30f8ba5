"""The command line, ``lamps-jax serve | generate | bench | simulate | train-predictor | …``: each a few lines over a library."""

import json
import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import lamps_jax
from lamps_jax import study
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
    ClientKeepOption,
    CoordinatorOption,
    DemotionOption,
    DtypeOption,
    EvictionOption,
    HistoryOption,
    HostKvBytesOption,
    KvBlocksOption,
    KvFractionOption,
    LoadFormatOption,
    LookaheadOption,
    MaxChunkTokensOption,
    MaxModelLenOption,
    MaxNumSeqsOption,
    ModelOption,
    MultiHostOption,
    NoBuiltinToolsOption,
    NoToolsOption,
    NumProcessesOption,
    PolicyOption,
    PredictorOption,
    PrefixCacheOption,
    PreserveLimitOption,
    ProcessIdOption,
    ProgramLimitOption,
    QuantizeOption,
    RankPreemptionOption,
    RankRefreshOption,
    RecordMaxBytesOption,
    RecordOption,
    RecordPromptsOption,
    StarvationScopeOption,
    StarvationThresholdOption,
    TensorParallelOption,
    TokenBudgetOption,
    ToolFormatOption,
    ToolsOption,
    number_of_bytes,
)
from lamps_jax.server_options import (
    AllowedOriginOption,
    ApiKeyFileOption,
    ApiKeyOption,
    ExitOnFailureOption,
    LogFormatOption,
    LogLevelOption,
    MaxConcurrentOption,
    MaxNOption,
    MaxPriorityOption,
    MaxQueueLenOption,
    MetricsAliasesOption,
    MetricsKeyOption,
    OtlpEndpointOption,
    QueueTimeoutOption,
    RequestsPerMinuteOption,
    RequestTimeoutOption,
    ShutdownTimeoutOption,
)

if TYPE_CHECKING:
    from lamps_jax.config import EngineConfig
    from lamps_jax.tools.load import LoadedTools


app = typer.Typer(
    help="An inference engine in JAX for language models that call tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version_or_command(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """An inference engine in JAX for language models that call tools."""
    if version:
        sys.stdout.write(f"lamps-jax {lamps_jax.__version__}\n")
        raise typer.Exit


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="A question, or with --raw the exact beginning of the text.")],
    model: ModelOption = "embedded",
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens to sample; by default up to the context.")] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token; 1 draws from the model's distribution.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the smallest set of tokens whose probabilities reach this sum.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw from so many likeliest tokens; 0 for all.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, same text.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends the generation; may be given several times.")] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on after the end-of-text token.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Take the prompt as it is, without the model's chat template.")] = False,
    tools: ToolsOption = None,
    no_builtin_tools: NoBuiltinToolsOption = False,
    tool_format: ToolFormatOption = "auto",
    no_tools: NoToolsOption = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document: text, token_ids, calls, timings.")
    ] = False,
    dtype: DtypeOption = "float32",
    policy: PolicyOption = "preserve",
    max_model_len: MaxModelLenOption = 1024,
    kv_blocks: KvBlocksOption = None,
    kv_fraction: KvFractionOption = None,
    host_kv_bytes: HostKvBytesOption = "0",
    attention: AttentionOption = "auto",
    prefix_cache: PrefixCacheOption = True,
    eviction: EvictionOption = "cost",
    preserve_limit_s: PreserveLimitOption = None,
    compile_cache: CacheOption = COMPILE_CACHE,
    tensor_parallel: TensorParallelOption = 1,
    quantize: QuantizeOption = None,
    load_format: LoadFormatOption = "auto",
    multi_host: MultiHostOption = False,
    coordinator_address: CoordinatorOption = None,
    num_processes: NumProcessesOption = None,
    process_id: ProcessIdOption = None,
) -> None:
    """Answer one question on the terminal; calls and their results are shown apart from the text.

    Example: lamps-jax generate "What is 48*37?"
    """
    from lamps_jax import terminal
    from lamps_jax.config import EngineConfig, SchedulerConfig
    from lamps_jax.llm import LLM
    from lamps_jax.sched.request import SamplingParams

    sampling = SamplingParams(
        max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed,
        stop=tuple(stop or ()), ignore_eos=ignore_eos,
    )  # fmt: skip
    scheduler = SchedulerConfig(
        policy=policy, max_model_len=max_model_len, max_num_seqs=1, max_chunk_tokens=64,
        prefix_cache=prefix_cache, eviction=eviction, preserve_limit_s=preserve_limit_s,
    )  # fmt: skip
    config = EngineConfig(
        scheduler,
        num_blocks=kv_blocks,
        kv_fraction=kv_fraction,
        host_kv_bytes=number_of_bytes(host_kv_bytes),
        attention=attention,
        dtype=dtype,
        compile_cache=compile_cache,
        tensor_parallel=tensor_parallel,
        quantize=quantize,
        load_format=load_format,
        tool_format=tool_format,
    )
    with _processes(multi_host, coordinator_address, num_processes, process_id) as leads:
        if not leads:
            _follow(model, config)
            return
        with _loaded(tools, no_builtin_tools=no_builtin_tools, no_tools=no_tools) as loaded:
            with terminal.progress_bar() as progress:
                llm = LLM(model, tools=loaded.tools, config=config, progress=progress)
            show = (lambda index, event: None) if json_output else terminal.show_event
            (generation,) = llm.generate([prompt], sampling, raw=raw, on_event=show)
        if json_output:
            sys.stdout.write(json.dumps(terminal.as_document(generation), ensure_ascii=False) + "\n")


@app.command()
def serve(
    model: ModelOption = "embedded",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    served_model_name: Annotated[str | None, typer.Option(help="Name under which clients ask for the model.")] = None,
    tools: ToolsOption = None,
    no_builtin_tools: NoBuiltinToolsOption = False,
    tool_format: ToolFormatOption = "auto",
    no_tools: NoToolsOption = False,
    dtype: DtypeOption = "float32",
    policy: PolicyOption = "lamps-plus",
    max_model_len: MaxModelLenOption = 1024,
    max_num_seqs: MaxNumSeqsOption = 16,
    token_budget: TokenBudgetOption = None,
    max_chunk_tokens: MaxChunkTokensOption = None,
    kv_blocks: KvBlocksOption = None,
    kv_fraction: KvFractionOption = None,
    host_kv_bytes: HostKvBytesOption = "0",
    attention: AttentionOption = "auto",
    prefix_cache: PrefixCacheOption = True,
    eviction: EvictionOption = "cost",
    client_keep_s: ClientKeepOption = 60.0,
    preserve_limit_s: PreserveLimitOption = None,
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
    predictor: PredictorOption = "auto",
    history: HistoryOption = None,
    record: RecordOption = None,
    record_prompts: RecordPromptsOption = False,
    record_max_bytes: RecordMaxBytesOption = "256M",
    compile_cache: CacheOption = COMPILE_CACHE,
    tensor_parallel: TensorParallelOption = 1,
    quantize: QuantizeOption = None,
    load_format: LoadFormatOption = "auto",
    multi_host: MultiHostOption = False,
    coordinator_address: CoordinatorOption = None,
    num_processes: NumProcessesOption = None,
    process_id: ProcessIdOption = None,
    api_key: ApiKeyOption = None,
    api_key_file: ApiKeyFileOption = None,
    metrics_key: MetricsKeyOption = None,
    allowed_origin: AllowedOriginOption = None,
    max_queue_len: MaxQueueLenOption = None,
    max_concurrent_requests: MaxConcurrentOption = None,
    requests_per_minute: RequestsPerMinuteOption = None,
    max_priority: MaxPriorityOption = None,
    max_n: MaxNOption = None,
    request_timeout: RequestTimeoutOption = None,
    queue_timeout: QueueTimeoutOption = None,
    shutdown_timeout: ShutdownTimeoutOption = 30.0,
    exit_on_failure: ExitOnFailureOption = False,
    log_format: LogFormatOption = "text",
    log_level: LogLevelOption = "info",
    otlp_endpoint: OtlpEndpointOption = None,
    metrics_aliases: MetricsAliasesOption = "vllm",
) -> None:
    """Serve a model over HTTP, the OpenAI way, with a page to try it at the root URL.

    Example: lamps-jax serve --port 8000
    """
    from lamps_jax.config import EngineConfig, SchedulerConfig
    from lamps_jax.engine.build import check_devices, model_directory
    from lamps_jax.sched.policy import system_named
    from lamps_jax.serve.async_engine import EngineUnavailable
    from lamps_jax.serve.logs import configure_logging
    from lamps_jax.serve.predictors import check_predictor
    from lamps_jax.serve.record import RecordConfig
    from lamps_jax.serve.run import serve as serve_forever
    from lamps_jax.serve.server_config import ServerConfig

    system_named(policy)
    check_predictor(predictor)
    if record_prompts and record is None:
        raise ValueError("--record-prompts says what to record, but not where; give --record FILE")
    record_max = number_of_bytes(record_max_bytes, "--record-max-bytes")
    recording = None if record is None else RecordConfig(record, with_prompts=record_prompts, max_bytes=record_max)
    server = ServerConfig(
        api_keys=tuple(api_key or ()), api_key_file=api_key_file, metrics_key=metrics_key,
        allowed_origins=tuple(allowed_origin or ()),
        max_queue_len=max_queue_len, max_concurrent_requests=max_concurrent_requests, requests_per_minute=requests_per_minute,
        max_priority=max_priority, max_n=max_n,
        request_timeout_s=request_timeout, queue_timeout_s=queue_timeout, shutdown_timeout_s=shutdown_timeout,
        exit_on_failure=exit_on_failure, log_level=log_level, log_format=log_format, otlp_endpoint=otlp_endpoint,
        metrics_aliases=tuple(name for name in metrics_aliases.split(",") if name),
    )  # fmt: skip
    scheduler = SchedulerConfig(
        policy=policy, max_model_len=max_model_len, max_num_seqs=max_num_seqs,
        token_budget=token_budget if token_budget is not None else max(512, max_num_seqs, max_chunk_tokens or 0),
        max_chunk_tokens=max_chunk_tokens if max_chunk_tokens is not None else 256,
        prefix_cache=prefix_cache, eviction=eviction, preserve_limit_s=preserve_limit_s, client_keep_s=client_keep_s,
        admission=admission, starvation_threshold=starvation_threshold, starvation_scope=starvation_scope,
        rank_refresh_steps=rank_refresh_steps, rank_preemption=rank_preemption, apply_handling=apply_handling,
        lookahead=lookahead, call_duration=call_duration,
        aging=aging, aging_s=aging_s, call_costs=call_costs, demotion=demotion, program_limit=program_limit,
    )  # fmt: skip
    config = EngineConfig(
        scheduler,
        num_blocks=kv_blocks,
        kv_fraction=kv_fraction,
        host_kv_bytes=number_of_bytes(host_kv_bytes),
        attention=attention,
        dtype=dtype,
        compile_cache=compile_cache,
        tensor_parallel=tensor_parallel,
        quantize=quantize,
        load_format=load_format,
        tool_format=tool_format,
    )
    with _processes(multi_host, coordinator_address, num_processes, process_id) as leads:
        check_devices(model_directory(model), config)  # what cannot be served should not have to wait for the port
        if not leads:
            _follow(model, config)
            return
        with _loaded(tools, no_builtin_tools=no_builtin_tools, no_tools=no_tools) as loaded:
            configure_logging(server)
            try:
                serve_forever(
                    model_directory(model),
                    config,
                    loaded.tools,
                    model_name=served_model_name or (model if model == "embedded" else Path(model).resolve().name),
                    host=host,
                    port=port,
                    predictor=predictor,
                    history=history,
                    record=recording,
                    server=server,
                )
            except EngineUnavailable as error:  # told to end when the engine fails
                sys.stderr.write(f"lamps-jax: {error}\n")
                raise typer.Exit(1) from error


app.command()(study.simulate)
app.command()(study.bench)


@app.command("train-predictor")
def train_predictor(
    config: Annotated[Path, typer.Option(metavar="FILE", help="A TOML file: what is trained, on what, and how.")],
    out: Annotated[Path, typer.Option(help="Directory of the predictor, its checkpoints and its report.")] = Path("predictor"),
    json_output: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Train a predictor of output lengths, judge it beside simpler ones, and write it where 'serve --predictor' reads it.

    Stopped at any moment, also by a kill, the same command goes on from the last checkpoint and ends with the same parameters.

    Example: lamps-jax train-predictor --config examples/predictor.toml --out build/predictor
    """
    from lamps_jax import terminal
    from lamps_jax.train_predictor.config import read_config
    from lamps_jax.train_predictor.run import run
    from lamps_jax.train_predictor.tables import as_markdown

    configuration = read_config(config)
    with terminal.training_progress() as (on_step, progress):
        report = run(configuration, out, on_step=on_step, progress=progress)
    sys.stdout.write(json.dumps(report) + "\n" if json_output else as_markdown(report))
    sys.stderr.write(f"wrote {out}: a predictor, report.json, report.md and figures\n")


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(metavar="HF_DIR", help="A Hugging Face directory.")],
    out: Annotated[Path, typer.Argument(help="A directory that does not exist yet; it appears when it is complete.")],
    dtype: Annotated[
        str, typer.Option(help="Type of the weights: float32, bfloat16 or float16; 'auto' keeps that of config.json.")
    ] = "auto",
    quantize: QuantizeOption = None,
) -> None:
    """Write a model as an Orbax checkpoint, which loads in parts onto whatever devices there are.

    Example: lamps-jax convert ~/models/vicuna-7b-v1.5 ~/models/vicuna-7b-orbax
    """
    from lamps_jax import terminal
    from lamps_jax.models.registry import convert as convert_model

    with terminal.progress_bar() as progress:
        convert_model(model, out, dtype=dtype, quantize=quantize, progress=progress)
    sys.stderr.write(f"wrote {out}\n")


@app.command()
def doctor(
    model: ModelOption = "embedded",
    dtype: DtypeOption = "float32",
    max_model_len: MaxModelLenOption = 1024,
    max_num_seqs: MaxNumSeqsOption = 16,
    kv_blocks: KvBlocksOption = None,
    host_kv_bytes: HostKvBytesOption = "256M",
    attention: AttentionOption = "auto",
    load_format: LoadFormatOption = "auto",
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Logits of small seeded models, the same on every machine: written if FILE does not exist, compared if it does.",
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document: schema, machine, versions, profile, checks.")
    ] = False,
) -> None:
    """Look at what this machine can do: devices, rates, programs, step and swap costs; a line and pass, warn or fail for each.

    Exit status 1 if anything fails, 2 for a wrong argument. Two machines are compared by --reference: run it on the one, copy
    FILE to the other, run it there. What the profile in --json says is what a simulator needs of this machine.

    Example: lamps-jax doctor --reference cpu.safetensors
    """
    from lamps_jax import terminal
    from lamps_jax.config import EngineConfig, SchedulerConfig
    from lamps_jax.doctor.examination import examine, exit_status, show
    from lamps_jax.engine.build import model_directory

    scheduler = SchedulerConfig(
        max_model_len=max_model_len,
        max_chunk_tokens=max(1, min(256, max_model_len)),
        max_num_seqs=max_num_seqs,
        token_budget=max(512, max_num_seqs),
    )
    config = EngineConfig(
        scheduler,
        num_blocks=kv_blocks,
        host_kv_bytes=number_of_bytes(host_kv_bytes),
        attention=attention,
        dtype=dtype,
        load_format=load_format,
    )
    with terminal.progress_bar() as progress:
        document = examine(
            model_directory(model), config, reference=reference, progress=progress,
            on_check=(lambda check: None) if json_output else show,
        )  # fmt: skip
    if json_output:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    raise typer.Exit(exit_status(document))


def _loaded(tools: list[Path] | None, *, no_builtin_tools: bool, no_tools: bool) -> "LoadedTools":
    """The tools that the options speak of, for as long as the context lasts."""
    from lamps_jax.tools.builtin import BUILTIN_TOOLS
    from lamps_jax.tools.load import load_tools

    if no_tools and tools:
        raise ValueError("--no-tools runs no tools at all, so there can be no --tools; --no-builtin-tools leaves the others")
    return load_tools(tools or (), builtin=() if no_tools or no_builtin_tools else BUILTIN_TOOLS)


def _processes(
    multi_host: bool, coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> AbstractContextManager[bool]:
    """The other processes that the options speak of, for as long as the context lasts; it gives whether this one leads them."""
    if coordinator_address is None and num_processes is None and process_id is None:
        if not multi_host:
            return nullcontext(True)
        from lamps_jax.engine.distributed import joined

        return joined()
    if coordinator_address is None or num_processes is None or process_id is None:
        raise ValueError(
            "--coordinator-address, --num-processes and --process-id go together; "
            "with --multi-host alone, all three come from Slurm, Open MPI, Kubernetes or the TPU pod"
        )
    from lamps_jax.engine.distributed import Processes, joined

    return joined(Processes(coordinator_address, num_processes, process_id))


def _follow(model: str, config: "EngineConfig") -> None:
    """Runs what process 0 runs until it ends; exit status 1 if it failed."""
    from lamps_jax.engine.build import follow, model_directory

    if not follow(model_directory(model), config):
        sys.stderr.write("lamps-jax: process 0 failed; its output says why\n")
        raise typer.Exit(1)


def main() -> None:
    """Runs a command; what the user got wrong ends in one line on standard error and exit status 2."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it misses PyTorch, which nothing here needs
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
    try:
        status = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:  # CheckpointError is a ValueError
        _fail(str(error))
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of the command line's own errors
            raise
        _fail(error.format_message() + _given_value(error))  # pyright: ignore[reportAttributeAccessIssue]
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _given_value(error: Exception) -> str:
    """What the user gave for the option that an error of the command line is about; its own message may not say."""
    for option in getattr(getattr(error, "param", None), "opts", ()):
        if option in sys.argv[:-1]:
            return f", got {sys.argv[sys.argv.index(option) + 1]!r}"
    return ""


def _fail(message: str) -> None:
    sys.stderr.write(f"lamps-jax: {' '.join(message.split())}\n")
    sys.exit(2)
