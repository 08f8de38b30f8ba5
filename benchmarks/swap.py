"""Speed of swapping KV blocks to the host and back, and what it costs the decode steps that go on beside it.

    python -m benchmarks.swap --out benchmarks/results/swap.json

The executor moves blocks as the engine makes it do; each figure stands beside the plain copy of the same bytes, in arrays of the
same size, between the same two memories in the same run: 1.0 would be a swap that costs nothing but the copy. A swap out also
gathers blocks from all layers, and a swap in scatters them. Decode steps are timed with and without blocks that go out and come
back in each, in turns, so that both see the same machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.document import write_document
from benchmarks.shapes import GPTJ_124M
from benchmarks.step import ready_to_decode, step_times
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.kv_cache.offload import bucket_sizes
from lamps_jax.models.registry import LoadedModel, load_model, random_model
from lamps_jax.sched.plan import BlockCopy, StepPlan

BLOCK_SIZE = 16
NUM_HOST_BLOCKS = 64
LARGEST_SWAP = 32
"""Blocks; more than one program moves, so that several are measured in a row."""


def make_executor(model: LoadedModel, dtype: str, *, batch: int, context: int) -> JaxExecutor:
    """An executor with `LARGEST_SWAP` blocks beside those of the batch; nothing is compiled before it is used."""
    shape, item_bytes = model.config, jnp.dtype(dtype).itemsize
    block_bytes = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * BLOCK_SIZE * item_bytes
    limits = SchedulerConfig(max_num_seqs=batch, max_model_len=context + 64, token_budget=64, max_chunk_tokens=16)
    config = EngineConfig(limits, block_size=BLOCK_SIZE, dtype=dtype, host_kv_bytes=NUM_HOST_BLOCKS * block_bytes)
    return JaxExecutor(model, config, num_blocks=batch * config.max_blocks_per_request + 1 + LARGEST_SWAP)


def fastest_s(acts: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least of several times of each act, after one that does not count; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(repeats + 1):
        for name, act in acts.items():
            start = time.perf_counter()
            act()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(times[1:]) for name, times in seconds.items()}


def swaps(executor: JaxExecutor, count: int) -> dict[str, Callable[[], object]]:
    """A swap of `count` blocks in each direction, to its end."""
    copies = tuple(BlockCopy(1 + at, at) for at in range(count))

    def out() -> None:
        executor.submit(StepPlan(0, swap_outs=copies))
        executor.host_pool.wait()

    def back() -> None:
        executor.submit(StepPlan(0, swap_ins=copies))
        executor.submit(StepPlan(0))
        jax.block_until_ready(executor._pool)  # the scatter has no other result

    return {"out": out, "in": back}


def plain_copies(executor: JaxExecutor, count: int) -> dict[str, Callable[[], object]]:
    """A copy of `count` arrays of a block's size in each direction."""
    keys = executor._pool[0][0]
    on_device, on_host = keys.sharding, keys.sharding.with_memory_kind("pinned_host")
    heads = keys.shape[1]  # over which the pool is split, if it is
    shape = (2 * len(executor._pool), heads, keys.size // keys.shape[0] // heads)
    device = [jnp.ones(shape, keys.dtype, device=on_device) for _ in range(count)]
    host = jax.device_put(device, on_host)
    return {
        "copy out": lambda: jax.block_until_ready(jax.device_put(device, on_host)),
        "copy in": lambda: jax.block_until_ready(jax.device_put(host, on_device)),
    }


def measure_copies(executor: JaxExecutor, repeats: int) -> list[dict[str, Any]]:
    """Seconds of a swap of each size, in both directions, and of the plain copy of as many bytes."""
    runs = []
    for count in (*bucket_sizes(LARGEST_SWAP), LARGEST_SWAP):
        times = fastest_s(swaps(executor, count) | plain_copies(executor, count), repeats)
        for direction in ("out", "in"):
            moved, swap_s, copy_s = count * executor.block_bytes, times[direction], times[f"copy {direction}"]
            runs.append({
                "phase": direction, "blocks": count, "bytes": moved, "swap_s": swap_s, "copy_s": copy_s,
                "swap_bytes_per_s": moved / swap_s, "copy_bytes_per_s": moved / copy_s, "share_of_copy": copy_s / swap_s,
            })  # fmt: skip
    return runs


def swapping_plan(executor: JaxExecutor, *, batch: int, context: int, blocks: int) -> StepPlan:
    """A decode step in which `blocks` go to the host while as many come back."""
    decodes = ready_to_decode(executor, batch=batch, context=context)
    spare = 1 + sum(len(decode.block_ids) for decode in decodes)
    out = tuple(BlockCopy(spare + at, at) for at in range(blocks))
    back = tuple(BlockCopy(spare + at, blocks + at) for at in range(blocks))
    executor.submit(StepPlan(0, swap_outs=back))
    return StepPlan(0, (), decodes, out, back)


def measure_decode(executor: JaxExecutor, *, batch: int, context: int, blocks: int, steps: int) -> dict[str, Any]:
    """Seconds of a decode step alone, and of one in which `blocks` go to the host while as many come back."""
    swapping = swapping_plan(executor, batch=batch, context=context, blocks=blocks)
    plans = {"alone": StepPlan(0, (), swapping.decodes), "beside": swapping}
    seconds: dict[str, list[float]] = {name: [] for name in plans}
    for turn in range(5 + 1):
        for name, plan in plans.items():
            times = step_times(executor, plan, max(1, steps // 5))
            seconds[name] += times * (turn > 0)  # the first turn compiles
    alone_s, beside_s = (statistics.median(seconds[name]) for name in plans)
    return {
        "phase": "decode", "batch": batch, "context_tokens": context, "blocks": blocks,
        "bytes": 2 * blocks * executor.block_bytes, "alone_s": alone_s, "beside_swap_s": beside_s, "slowdown": beside_s / alone_s,
    }  # fmt: skip


def print_table(runs: list[dict[str, Any]]) -> None:
    """Prints what was measured, copies first."""
    print(f"{'model':12} {'':3} {'blocks':>6} {'MB':>7} {'swap GB/s':>10} {'copy GB/s':>10} {'of copy':>8}")
    for run in (run for run in runs if run["phase"] != "decode"):
        print(
            f"{run['model']:12} {run['phase']:3} {run['blocks']:6} {run['bytes'] / 1e6:7.2f} "
            f"{run['swap_bytes_per_s'] / 1e9:10.2f} {run['copy_bytes_per_s'] / 1e9:10.2f} {run['share_of_copy']:8.2f}"
        )
    print(f"{'model':12} {'blocks out and in':>17} {'MB/step':>8} {'alone ms':>9} {'beside swap ms':>15} {'slowdown':>9}")
    for run in (run for run in runs if run["phase"] == "decode"):
        print(
            f"{run['model']:12} {run['blocks']:17} {run['bytes'] / 1e6:8.2f} {1e3 * run['alone_s']:9.2f} "
            f"{1e3 * run['beside_swap_s']:15.2f} {run['slowdown']:9.2f}"
        )


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/swap.json"), help="where to write the results")
    parser.add_argument("--dtype", default="float32", help="type of the weights and of keys and values")
    parser.add_argument("--models", default="embedded,gpt-j 124M", help="of these two, those to measure")
    parser.add_argument("--batch", type=int, default=8, help="requests that decode")
    parser.add_argument("--context", type=int, default=128, help="tokens of context of each")
    parser.add_argument("--blocks", default="1,8", help="blocks that go out, and come in, in each step")
    parser.add_argument("--steps", type=int, default=20, help="decode steps timed for each figure")
    parser.add_argument("--repeats", type=int, default=9, help="copies timed for each figure")
    arguments = parser.parse_args()
    makers: dict[str, Callable[[], LoadedModel]] = {
        "embedded": lambda: load_model(EMBEDDED_MODEL, dtype=arguments.dtype),
        "gpt-j 124M": lambda: random_model(GPTJ_124M, dtype=arguments.dtype),
    }
    runs: list[dict[str, Any]] = []
    for name in arguments.models.split(","):
        executor = make_executor(makers[name](), arguments.dtype, batch=arguments.batch, context=arguments.context)
        measured = measure_copies(executor, arguments.repeats)
        measured += [
            measure_decode(executor, batch=arguments.batch, context=arguments.context, blocks=int(blocks), steps=arguments.steps)
            for blocks in arguments.blocks.split(",")
        ]
        runs += [run | {"model": name, "dtype": arguments.dtype} for run in measured]
    print_table(runs)
    write_document(arguments.out, "swap", runs)


if __name__ == "__main__":
    main()
