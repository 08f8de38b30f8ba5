"""Options of the command line that several commands have: of the model and its engine, and of how requests are scheduled."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from lamps_jax.sched.policy import SYSTEMS


def default_compile_cache() -> str:
    """Where compiled programs are kept between runs: under the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return str((Path(base) / "lamps-jax" / "programs").expanduser())


COMPILE_CACHE = default_compile_cache()

ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="'embedded', a Hugging Face directory (config.json, weights, tokenizer), or what convert wrote."
    ),
]
DtypeOption = Annotated[str, typer.Option(help="Type of the weights: float32, bfloat16 or float16.")]
PolicyOption = Annotated[
    str,
    typer.Option(
        help="How requests are ordered, and what becomes of their KV blocks during a call. "
        + "; ".join(f"'{name}': {system.summary}" for name, system in SYSTEMS.items())
        + "."
    ),
]
MaxModelLenOption = Annotated[
    int, typer.Option(help="Most tokens of one request, prompt and results included; at most the model's context.")
]
KvBlocksOption = Annotated[
    int | None,
    typer.Option(help="KV blocks of 16 tokens; by default as many as every running request can use, as far as memory allows."),
]
KvFractionOption = Annotated[
    float | None, typer.Option(help="Instead of --kv-blocks: share of the memory that is free beside the weights, 0 to 1.")
]
HostKvBytesOption = Annotated[
    str,
    typer.Option(
        metavar="BYTES",
        help="Host memory for KV blocks that are swapped out, in bytes or like 512M, 8G (powers of 1024); 0 for none.",
    ),
]
AttentionOption = Annotated[
    str,
    typer.Option(
        help="Attention backend: 'auto' takes the fastest that passes its self-test; "
        "reference, xla, llvm_cpu, pallas_gpu, pallas_tpu."
    ),
]
PrefixCacheOption = Annotated[
    bool, typer.Option("--prefix-cache/--no-prefix-cache", help="Whether KV blocks are found again by their content.")
]
EvictionOption = Annotated[
    str, typer.Option(help="Which cached block goes first: 'cost' the cheapest to lose, 'lru' the one used longest ago.")
]
PreserveLimitOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="How long a call may keep blocks on the device; by default as long as it takes."),
]
MaxNumSeqsOption = Annotated[int, typer.Option(help="Most requests running at once.")]
CacheOption = Annotated[str, typer.Option(help="Directory of compiled programs; '' for none.")]
TensorParallelOption = Annotated[
    int, typer.Option(help="Devices over which heads and weights are split; it must divide the model's key-value heads.")
]
QuantizeOption = Annotated[
    str | None, typer.Option(help="'int8' keeps the weights' matrices as 8-bit integers with one scale an output.")
]
LoadFormatOption = Annotated[str, typer.Option(help="'auto' reads the model's weights, 'dummy' draws random ones.")]
MultiHostOption = Annotated[
    bool,
    typer.Option(
        "--multi-host",
        help="Run as one of several processes that Slurm, Open MPI, a Kubernetes job or a TPU pod started with this command.",
    ),
]
CoordinatorOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where process 0 of several listens; the same in all of them.")
]
NumProcessesOption = Annotated[int | None, typer.Option(help="How many processes run together, with --coordinator-address.")]
ProcessIdOption = Annotated[int | None, typer.Option(help="Which of them this is, from 0; process 0 serves and prints.")]
NoToolsOption = Annotated[bool, typer.Option("--no-tools", help="Do not run tools: calls are plain text.")]
ToolsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--tools",
        metavar="FILE",
        help="Run the tools of FILE besides the built-in ones: Python (.py), or HTTP endpoints and MCP servers (.toml); may be "
        "given several times.",
    ),
]
ToolFormatOption = Annotated[
    str,
    typer.Option(help="How the model writes calls: 'auto' as its chat template says; inline, react, hermes, llama3."),
]
ClientKeepOption = Annotated[
    float,
    typer.Option(
        min=0,
        help="Seconds for which the KV blocks of a reply that ends in calls of the client's are kept for the request that brings "
        "the results, until it is known how long such calls take; 0 keeps none.",
    ),
]
NoBuiltinToolsOption = Annotated[
    bool, typer.Option("--no-builtin-tools", help="Leave the built-in tools out: run those of --tools alone.")
]

TokenBudgetOption = Annotated[
    int | None,
    typer.Option(
        help="Most tokens computed in one step, those of prompts and one of each running request; more suits a fast device."
    ),
]
MaxChunkTokensOption = Annotated[int | None, typer.Option(help="Most tokens of one prompt in a step.")]
AdmissionOption = Annotated[
    Literal["next-chunk", "whole-context", "predicted-peak"] | None,
    typer.Option(
        help="When a waiting request may start: if its next chunk fits, or its whole context, or all that runs with it at the "
        "size that is predicted; by default as the policy has it."
    ),
]
StarvationThresholdOption = Annotated[
    int, typer.Option(help="Steps of waiting after which a request goes first, under policies that rank; 0 for never.")
]
StarvationScopeOption = Annotated[
    Literal["waiting", "started"] | None,
    typer.Option(help="Whose waiting counts: 'waiting' for all, 'started' for requests that have run; by default as the policy."),
]
RankRefreshOption = Annotated[
    int, typer.Option(help="Steps within which ranks that drift are computed anew, some in each; 0 for never.")
]
RankPreemptionOption = Annotated[
    bool | None,
    typer.Option(
        "--rank-preemption/--no-rank-preemption",
        help="Whether a waiting request of better rank takes a running one's place; by default as the policy has it.",
    ),
]
ApplyHandlingOption = Annotated[
    Literal["at-call", "lazily"] | None,
    typer.Option(
        help="When a handling chosen ahead takes effect: 'at-call', or 'lazily', once memory is wanted; by default as the policy."
    ),
]
LookaheadOption = Annotated[
    Literal["next-call", "program", "gittins"] | None,
    typer.Option(
        help="How far ranks foresee: the 'next-call', the whole 'program', or where it may end ('gittins'); by default as the "
        "policy has it."
    ),
]
CallDurationOption = Annotated[
    Literal["expected", "elapsed"],
    typer.Option(help="What a running call is taken to last still: what is 'expected', or as long as has 'elapsed'."),
]
AgingOption = Annotated[
    float | None,
    typer.Option(
        help="How strongly ranks fall with age, so that nobody starves: they are divided by (1 + age / --aging-s) to this power, "
        "in place of --starvation-threshold. 0: not at all; 1 to 4 are sensible. By default as the policy has it."
    ),
]
AgingSecondsOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Age at which --aging begins to count. By default as the policy has it."),
]
CallCostsOption = Annotated[
    Literal["paper", "marginal"] | None,
    typer.Option(
        help="What is weighed to keep, swap or discard the blocks of a call: the wastes of the 'paper', or the 'marginal' ones, "
        "of what each adds to steps that are taken anyway. By default as the policy has it."
    ),
]
DemotionOption = Annotated[
    Literal["ahead", "on-demand"] | None,
    typer.Option(
        help="When blocks of calls are given up: as chosen 'ahead', or 'on-demand', once a request waits. By default as the "
        "policy has it."
    ),
]
ProgramLimitOption = Annotated[
    Literal["aimd"] | None,
    typer.Option(help="'aimd' lets fewer requests be under way, calls included, the more has to be computed again."),
]


PredictorOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|DIR",
        help="Who says how long outputs will be: 'history' (what requests of the type did), a directory that train-predictor has "
        "written, 'oracle-hints' (predicted_segments of the request), 'none'. 'auto' takes the predictor that ships with the "
        "embedded model for that model and policies that want no more than a length, and history otherwise.",
    ),
]
HistoryOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep what is learned of calls (durations, returned tokens) and requests (lengths) in FILE, so that the next start "
        "knows it; one file a model. By default a server begins knowing nothing.",
    ),
]
RecordOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Append what each finished request did to FILE, one JSON line a request: tokens of its prompt, its outputs and "
        "results, its calls and their durations; no text. By default nothing is recorded.",
    ),
]
RecordPromptsOption = Annotated[
    bool, typer.Option("--record-prompts", help="Record the texts too: prompts, outputs, results. With --record.")
]
RecordMaxBytesOption = Annotated[
    str,
    typer.Option(
        metavar="BYTES", help="Size at which the record FILE becomes FILE.1, in bytes or like 64M; FILE.1 to FILE.4 are kept."
    ),
]


def number_of_bytes(text: str, option: str = "--host-kv-bytes") -> int:
    """A number of bytes like 1073741824, 512M or 8G, given for an option."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not digits.isdigit() or unit not in ("", "K", "M", "G", "T"):
        raise ValueError(f"{option} must be bytes, or a number with K, M, G or T behind it, got {text!r}")
    return int(digits) * 1024 ** " KMGT".index(unit or " ")
