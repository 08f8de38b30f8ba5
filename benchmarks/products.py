"""The CPU's kernel for products of few rows beside XLA's product of the same numbers.

    python -m benchmarks.products --out benchmarks/results/products.json

A product is repeated with so many matrices that none is found in a cache, as in a model. The two ways take turns; a ratio
is of two that follow each other. The bandwidth is that of the matrix as it is stored, beside a copy's (read and written).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product as combinations
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.document import write_document
from benchmarks.limits import copy_bandwidth
from lamps_jax.models.products import product as products

SHAPES = ((2048, 768), (5632, 2048))
"""Outputs and inputs of the largest matrices of the two models that `benchmarks.peers` measures."""

CACHE_BYTES = 192 * 2**20


def seconds_of(multiply: Callable[[Array, Sequence[Array]], Sequence[Array]], x: Array, matrices: Sequence[Array]) -> float:
    """Of one product."""
    began = time.perf_counter()
    jax.block_until_ready(multiply(x, matrices))
    return (time.perf_counter() - began) / len(matrices)


def matrices_of(outputs: int, inputs: int, dtype: str) -> list[Array]:
    """As many as a cache does not hold."""
    count = max(2, CACHE_BYTES // (outputs * inputs * jnp.dtype(dtype).itemsize))
    keys = jax.random.split(jax.random.key(0), count)
    return [(40 * jax.random.normal(key, (outputs, inputs), jnp.float32)).astype(dtype) for key in keys]


def measure(outputs: int, inputs: int, dtype: str, rows: Iterable[int], rounds: int) -> list[dict[str, Any]]:
    """The kernel and XLA in turns, for each number of rows."""
    matrices, runs = matrices_of(outputs, inputs, dtype), list[dict[str, Any]]()
    ways = [
        jax.jit(lambda x, matrices, way=way: [way(x, matrix) for matrix in matrices])
        for way in (products.by_kernel, products.by_xla)
    ]
    for number in rows:
        x = jax.random.normal(jax.random.key(1), (number, inputs)).astype("bfloat16" if dtype == "bfloat16" else "float32")
        pairs = [[seconds_of(way, x, matrices) for way in ways] for _ in range(rounds + 1)][1:]
        kernel_s, xla_s = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        ratios = [theirs / mine for mine, theirs in pairs]
        runs.append(
            {
                "outputs": outputs, "inputs": inputs, "dtype": dtype, "rows": number, "rounds": rounds,
                "kernel_s": kernel_s, "xla_s": xla_s, "matrix_bytes_per_s": matrices[0].nbytes / kernel_s,
                "flop_per_s": 2 * number * outputs * inputs / kernel_s,
                "speedup": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
            }
        )  # fmt: skip
    return runs


def print_table(runs: Iterable[dict[str, Any]]) -> None:
    """Prints what was measured."""
    for run in runs:
        speedup = run["speedup"]
        print(
            f"{run['outputs']:6} x {run['inputs']:<5} {run['dtype']:8} {run['rows']:4} rows {1e6 * run['kernel_s']:8.0f} us "
            f"XLA {1e6 * run['xla_s']:8.0f} us  {speedup['median']:6.2f} ({speedup['least']:.2f}-{speedup['most']:.2f})  "
            f"{run['matrix_bytes_per_s'] / 1e9:5.1f} GB/s {run['flop_per_s'] / 1e9:5.0f} GFLOP/s"
        )


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/products.json"), help="where to write the results")
    parser.add_argument("--dtypes", default="float32,bfloat16,int8", help="of the matrix")
    parser.add_argument("--rows", default="1,2,4,8,16,32,64,256", help="rows of the other factor")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of times")
    arguments = parser.parse_args()
    rows, runs = [int(text) for text in arguments.rows.split(",")], list[dict[str, Any]]()
    bandwidth = copy_bandwidth()
    print(f"copies at {bandwidth / 1e9:.1f} GB/s, read and written")
    for (outputs, inputs), dtype in combinations(SHAPES, arguments.dtypes.split(",")):
        found = measure(outputs, inputs, dtype, rows, arguments.rounds)
        print_table(found)
        runs += [run | {"copy_bytes_per_s": bandwidth} for run in found]
    write_document(arguments.out, "products", runs)


if __name__ == "__main__":
    main()
