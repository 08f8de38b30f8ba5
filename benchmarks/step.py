"""Decode and prefill speed of the engine's programs against what the machine can do.

    python -m benchmarks.step --out benchmarks/results/step.json

A decode step has to read every weight once, and the keys and values of every token of every context. Those bytes, divided by the
time of a step, are set against what the same device copies per second (bytes read plus bytes written): 1.0 would be the limit of
a machine that does nothing but move memory. A prefill's floating-point operations are set against a large product of matrices of
the same type. Steps are submitted one ahead of the one collected, as the engine does.

Beside a decode step stands the time of the same model over a dense cache (`benchmarks.dense`), the two measured in turns: the
quotient is what paging costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.dense import allocate_dense, make_dense_decode
from benchmarks.document import quartiles, write_document
from benchmarks.limits import copy_bandwidth, matmul_rate
from benchmarks.shapes import GPTJ_124M
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.registry import LoadedModel, load_model, random_model
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

SAMPLING = SamplingParams()

BLOCK_SIZE = 16

ROOM = 64
"""Tokens for which a request has blocks beside its context."""

TURNS = 4
"""Changes between the paged and the dense steps, so that a busy moment of the machine hits both."""


def make_executor(model: LoadedModel, dtype: str, *, batch: int, context: int, chunk: int, host_blocks: int = 0) -> JaxExecutor:
    """An executor with blocks for `batch` requests of `context` tokens; nothing is compiled before it is used."""
    limits = SchedulerConfig(
        max_num_seqs=batch, max_model_len=context + ROOM, token_budget=max(chunk, batch), max_chunk_tokens=chunk
    )
    shape = model.config
    token_bytes = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * jnp.dtype(dtype).itemsize
    config = EngineConfig(limits, block_size=BLOCK_SIZE, dtype=dtype, host_kv_bytes=host_blocks * BLOCK_SIZE * token_bytes)
    return JaxExecutor(model, config, num_blocks=batch * config.max_blocks_per_request + 1)


def block_tables(batch: int, context: int) -> list[list[int]]:
    """Blocks of each of `batch` requests, none of which two have."""
    blocks = -(-(context + ROOM) // BLOCK_SIZE)
    return [list(range(1 + row * blocks, 1 + (row + 1) * blocks)) for row in range(batch)]


def ready_to_decode(
    executor: JaxExecutor, *, batch: int, context: int, sampling: SamplingParams = SAMPLING
) -> tuple[Decode, ...]:
    """Decodes of `batch` requests with `context` tokens each, whose keys and values are zeros: they are as long to read."""
    tables = block_tables(batch, context)
    for row in range(batch):  # sets the slot's table and sampling
        chunk = PrefillChunk(str(row), row, [1], context - 1, tables[row], sampling, sample=True, ban_eos=False)
        executor.collect(executor.submit(StepPlan(0, (chunk,), ())))
    return tuple(Decode(str(row), row, None, context, tables[row], ban_eos=False) for row in range(batch))


def step_times(executor: JaxExecutor, plan: StepPlan, steps: int) -> list[float]:
    """Seconds of each of `steps` steps, the next one submitted before one is collected."""
    seconds: list[float] = []
    handle = executor.submit(plan)
    for _ in range(steps):
        start = time.perf_counter()
        following = executor.submit(plan)
        executor.collect(handle)
        handle = following
        seconds.append(time.perf_counter() - start)
    executor.collect(handle)
    return seconds


def measure_decode(
    model: LoadedModel, executor: JaxExecutor, dtype: str, *, batch: int, context: int, steps: int, dense: bool = True
) -> dict[str, Any]:
    """Seconds and bytes of one decode step of `batch` requests that have `context` tokens each."""
    plan = StepPlan(0, (), ready_to_decode(executor, batch=batch, context=context))
    dense_step = dense_stepper(model, dtype, batch=batch, context=context) if dense else None
    seconds: list[float] = []
    dense_seconds: list[float] = []
    for turn in range(-1, TURNS):  # the first compiles and warms
        times = step_times(executor, plan, -(-steps // TURNS))
        dense_times = [dense_step() for _ in times] if dense_step else []
        if turn >= 0:
            seconds += times
            dense_seconds += dense_times
    embedding = 2 * model.config.vocab_size * model.config.hidden_size  # of two tables, a step reads one whole: the output's
    read_weights = model.weight_bytes * (1 - 0.5 * embedding / sum(weight.size for weight in model.weights))
    kv_bytes = batch * (context + 1) * executor.block_bytes / BLOCK_SIZE
    median = statistics.median(seconds)
    run = {
        "phase": "decode", "batch": batch, "context_tokens": context, "step_s": median, "fastest_step_s": min(seconds),
        "step_quartiles_s": quartiles(seconds), "tokens_per_s": batch / median, "bytes_per_step": read_weights + kv_bytes,
        "bytes_per_s": (read_weights + kv_bytes) / median,
    }  # fmt: skip
    if dense_seconds:
        dense_s = statistics.median(dense_seconds)
        run |= {"dense_step_s": dense_s, "paged_to_dense": median / dense_s}
    return run


def dense_stepper(model: LoadedModel, dtype: str, *, batch: int, context: int) -> Callable[[], float]:
    """Runs one step over a dense cache of as many tokens as the paged one has places, and returns its seconds."""
    decode = make_dense_decode(model)
    cache = allocate_dense(model, dtype, batch=batch, num_tokens=context + 64)
    tokens, positions = jnp.ones(batch, jnp.int32), jnp.full(batch, context, jnp.int32)

    def step() -> float:
        nonlocal cache, tokens
        start = time.perf_counter()
        cache, tokens = decode(model.weights, cache, tokens, positions)
        np.asarray(tokens)
        return time.perf_counter() - start

    return step


def measure_prefill(model: LoadedModel, executor: JaxExecutor, *, tokens: int, chunk: int, repeats: int) -> dict[str, Any]:
    """Seconds and floating-point operations of a prompt of `tokens` tokens, in chunks of `chunk` at most."""
    table = block_tables(1, tokens)[0]
    seconds: list[float] = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        handles = []
        for begin in range(0, tokens, chunk):
            size = min(chunk, tokens - begin)
            part = PrefillChunk("0", 0, [1] * size, begin, table, SAMPLING, begin + size == tokens, ban_eos=False)
            handles.append(executor.submit(StepPlan(0, (part,), ())))
        executor.collect(handles[-1])
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])  # the first compiles
    shape = model.config
    embeddings = 2 * shape.vocab_size * shape.hidden_size  # one is looked up; the other is multiplied with the last token alone
    matrices = sum(weight.size for weight in model.weights) - embeddings
    attention = 2 * shape.num_layers * shape.num_heads * shape.head_dim * tokens * (tokens + 1)  # each sees half of the others
    return {
        "phase": "prefill", "batch": 1, "context_tokens": tokens, "chunk_tokens": chunk, "step_s": median,
        "step_quartiles_s": quartiles(seconds[1:]), "tokens_per_s": tokens / median,
        "flop_per_s": (2 * matrices * tokens + attention) / median,
    }  # fmt: skip


def print_table(runs: Iterable[dict[str, Any]]) -> None:
    """Prints what was measured beside the limits."""
    header = f"{'model':14} {'phase':8} {'batch':>5} {'context':>7} {'ms':>8} {'tokens/s':>9} {'MB/step':>8}"
    print(f"{header} {'of limit':>8} {'to dense':>8}")
    for run in runs:
        moved = f"{run['bytes_per_step'] / 1e6:8.1f}" if run["phase"] == "decode" else 8 * " "
        paged_to_dense = f"{run['paged_to_dense']:8.2f}" if "paged_to_dense" in run else ""
        print(
            f"{run['model']:14} {run['phase']:8} {run['batch']:5} {run['context_tokens']:7} {1e3 * run['step_s']:8.2f} "
            f"{run['tokens_per_s']:9.0f} {moved} {run['share_of_limit']:8.2f} {paged_to_dense}"
        )


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/step.json"), help="where to write the results")
    parser.add_argument("--dtype", default="float32", help="type of the weights")
    parser.add_argument("--batches", default="1,8,32,64", help="decode batch sizes")
    parser.add_argument("--contexts", default="128,512,2048", help="tokens of context")
    parser.add_argument("--chunk", type=int, default=256, help="most tokens of a chunk of a prompt")
    parser.add_argument("--steps", type=int, default=20, help="steps timed for each figure")
    arguments = parser.parse_args()
    dtype, bandwidth, rate = arguments.dtype, copy_bandwidth(), matmul_rate(arguments.dtype, size=2048)
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s (read + written), {dtype} product {rate / 1e9:.0f} GFLOP/s")
    models = {"embedded": load_model(EMBEDDED_MODEL, dtype=dtype), "gpt-j 124M": random_model(GPTJ_124M, dtype=dtype)}
    runs: list[dict[str, Any]] = []
    for name, model in models.items():
        for context in map(int, arguments.contexts.split(",")):
            measured = []
            for batch in map(int, arguments.batches.split(",")):
                executor = make_executor(model, dtype, batch=batch, context=context, chunk=64)
                measured.append(measure_decode(model, executor, dtype, batch=batch, context=context, steps=arguments.steps))
                measured[-1] |= {"share_of_limit": measured[-1]["bytes_per_s"] / bandwidth}
            chunk = min(context, arguments.chunk)
            executor = make_executor(model, dtype, batch=1, context=context, chunk=chunk)
            measured.append(measure_prefill(model, executor, tokens=context, chunk=chunk, repeats=5))
            measured[-1] |= {"share_of_limit": measured[-1]["flop_per_s"] / rate}
            limits = {"copy_bytes_per_s": bandwidth, "matmul_flop_per_s": rate}
            runs += [{"model": name, "dtype": dtype} | run | limits for run in measured]
    print_table(runs)
    write_document(arguments.out, "step", runs)


if __name__ == "__main__":
    main()
