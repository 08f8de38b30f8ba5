"""Decode and prefill speed of the engine's programs against the machine's copy bandwidth.

    python -m benchmarks.step --out benchmarks/results/step.json

A decode step has to read every weight once, and the keys and values of every token of every context. Those bytes, divided by the
time of a step, are set against what the same device copies per second (bytes read plus bytes written): 1.0 would be the limit of
a machine that does nothing but move memory. Steps are submitted one ahead of the one collected, as the engine does.

Beside each stands the time of the same model over a dense cache (`benchmarks.dense`), the two measured in turns: the quotient is
what paging costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.dense import allocate_dense, make_dense_decode
from benchmarks.document import write_document
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.registry import LoadedModel, load_model, random_model
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

GPTJ_124M = GPTJConfig(
    vocab_size=25_216, hidden_size=768, num_layers=12, num_heads=12, rotary_dim=32, intermediate_size=3072, max_position=2048
)
"""GPT-J's shape at 124 million parameters."""

SAMPLING = SamplingParams()

TURNS = 4
"""Changes between the paged and the dense steps, so that a busy moment of the machine hits both."""


def copy_bandwidth(megabytes: int = 256, repeats: int = 7) -> float:
    """Bytes per second, read and written, of the fastest of several passes over a large array."""
    x = jnp.ones(megabytes * 2**20 // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = add(x).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        x = add(x).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * x.nbytes / min(seconds)


def make_executor(model: LoadedModel, dtype: str, batch: int, max_len: int, chunk: int) -> JaxExecutor:
    """An executor whose only decode shape is `batch`, so that little is compiled."""
    limits = SchedulerConfig(max_num_seqs=batch, max_model_len=max_len, token_budget=max(chunk, batch), max_chunk_tokens=chunk)
    config = EngineConfig(limits, dtype=dtype)
    return JaxExecutor(model, config, num_blocks=batch * config.max_blocks_per_request + 1)


def measure_decode(model: LoadedModel, dtype: str, *, batch: int, context: int, steps: int) -> dict[str, Any]:
    """Seconds and bytes of one decode step of `batch` requests that have `context` tokens each."""
    executor = make_executor(model, dtype, batch, context + 64, 64)
    blocks = -(-(context + 64) // 16)
    tables = [list(range(1 + row * blocks, 1 + (row + 1) * blocks)) for row in range(batch)]
    for row in range(batch):  # sets the slot's table and sampling; its keys and values are zeros, which are as long to read
        chunk = PrefillChunk(str(row), row, [1], context - 1, tables[row], SAMPLING, sample=True, ban_eos=False)
        executor.collect(executor.submit(StepPlan(0, (chunk,), ())))
    decodes = tuple(Decode(str(row), row, None, context, tables[row], ban_eos=False) for row in range(batch))
    dense_step = dense_stepper(model, dtype, batch=batch, context=context)
    seconds, dense_seconds = [], []
    for turn in range(-1, TURNS):  # the first compiles and warms
        handle = executor.submit(StepPlan(0, (), decodes))
        for step in range(-(-steps // TURNS)):
            start = time.perf_counter()
            following = executor.submit(StepPlan(step + 1, (), decodes))
            executor.collect(handle)
            handle = following
            seconds += [time.perf_counter() - start] * (turn >= 0)
        executor.collect(handle)
        dense_seconds += [dense_step() for _ in range(-(-steps // TURNS))] * (turn >= 0)
    embedding = 2 * model.config.vocab_size * model.config.hidden_size  # of two tables, a step reads one whole: the output's
    read_weights = model.weight_bytes * (1 - 0.5 * embedding / sum(weight.size for weight in model.weights))
    kv_bytes = batch * (context + 1) * executor.block_bytes / 16
    median, dense_s = statistics.median(seconds), statistics.median(dense_seconds)
    return {
        "phase": "decode", "batch": batch, "context_tokens": context, "step_s": median,
        "dense_step_s": dense_s, "paged_to_dense": median / dense_s,
        "tokens_per_s": batch / median, "bytes_per_step": read_weights + kv_bytes,
        "bytes_per_s": (read_weights + kv_bytes) / median,
    }  # fmt: skip


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


def measure_prefill(model: LoadedModel, dtype: str, *, tokens: int, repeats: int) -> dict[str, Any]:
    """Tokens per second of prompts of `tokens` tokens, in chunks of 256 at most."""
    chunk = min(tokens, 256)
    executor = make_executor(model, dtype, 1, tokens + 64, chunk)
    table = list(range(1, 1 + -(-(tokens + 64) // 16)))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for begin in range(0, tokens, chunk):
            size = min(chunk, tokens - begin)
            part = PrefillChunk("0", 0, [1] * size, begin, table, SAMPLING, begin + size == tokens, ban_eos=False)
            handle = executor.submit(StepPlan(0, (part,), ()))
        executor.collect(handle)
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])  # the first compiles
    parameters = sum(weight.size for weight in model.weights) - model.config.vocab_size * model.config.hidden_size
    return {
        "phase": "prefill", "batch": 1, "context_tokens": tokens, "step_s": median, "tokens_per_s": tokens / median,
        "flop_per_s": 2 * parameters * tokens / median,
    }  # fmt: skip


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/step.json"), help="where to write the results")
    parser.add_argument("--dtype", default="float32", help="type of the weights")
    parser.add_argument("--batches", default="1,8,32,64", help="decode batch sizes")
    parser.add_argument("--contexts", default="128,512,2048", help="tokens of context")
    parser.add_argument("--steps", type=int, default=20, help="steps timed for each figure")
    arguments = parser.parse_args()
    bandwidth = copy_bandwidth()
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s (read + written)")
    models = {
        "embedded": load_model(EMBEDDED_MODEL, dtype=arguments.dtype),
        "gpt-j 124M": random_model(GPTJ_124M, dtype=arguments.dtype),
    }
    runs = []
    for name, model in models.items():
        for context in map(int, arguments.contexts.split(",")):
            for batch in map(int, arguments.batches.split(",")):
                runs.append(measure_decode(model, arguments.dtype, batch=batch, context=context, steps=arguments.steps))
                runs[-1] |= {"share_of_bandwidth": runs[-1]["bytes_per_s"] / bandwidth}
            runs.append(measure_prefill(model, arguments.dtype, tokens=context, repeats=5))
            for run in runs:
                run.setdefault("model", name)
                run |= {"dtype": arguments.dtype, "copy_bytes_per_s": bandwidth}
    header = f"{'model':12} {'phase':8} {'batch':>5} {'context':>7} {'ms':>8} {'tokens/s':>9} {'MB/step':>8}"
    print(f"{header} {'of copy bandwidth':>18} {'to dense':>8}")
    for run in runs:
        moved = ""
        if run["phase"] == "decode":
            moved = f"{run['bytes_per_step'] / 1e6:8.1f} {run['share_of_bandwidth']:18.2f} {run['paged_to_dense']:8.2f}"
        print(
            f"{run['model']:12} {run['phase']:8} {run['batch']:5} {run['context_tokens']:7} {1e3 * run['step_s']:8.2f} "
            f"{run['tokens_per_s']:9.0f} {moved}"
        )
    write_document(arguments.out, "step", runs)


if __name__ == "__main__":
    main()
