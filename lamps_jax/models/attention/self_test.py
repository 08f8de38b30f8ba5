"""Whether an attention backend computes here what dense attention does, on the model's own shapes, before it serves anyone."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Literal, cast

import jax
import jax.numpy as jnp
import numpy as np

from lamps_jax.kv_cache.pool import LayerBlocks, encode, storage_dtype
from lamps_jax.models.attention import reference
from lamps_jax.models.attention.backend import PagedAttention, Unsupported

logger = logging.getLogger(__name__)

BACKENDS = ("reference", "xla", "llvm_cpu", "pallas_gpu", "pallas_tpu")
"""Names of the implementations; each is a module of this package with a function `paged_attention`."""

DECODES_ONLY = frozenset({"llvm_cpu"})
"""Backends that leave chunks to `xla`, which goes untested."""

TOLERANCES = MappingProxyType({2: 2e-2, 4: 5e-3})
"""Largest error that passes, by bytes of an element, for outputs around 1.

A kernel on matrix units rounds queries and weights to the keys' type, and accelerators multiply float32 in fewer bits by default.
A token lost or gained among the few that a case has moves an output by several tenths.
"""

CHUNK = 40
"""Queries of the prefill case: more than a tile's smallest size, and not a multiple of it."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """What a backend will be called with, on one device.

    Attributes:
        num_heads: Heads of the queries that the device has.
        num_kv_heads: Heads of the keys that the device has; it divides `num_heads`.
        head_dim: Numbers of a head.
        block_size: Tokens of a block.
        max_blocks: Width of a block table.
        max_batch: Rows that decode together, at most.
        dtype: Type of keys and values.
        windows: Sliding windows of the layers, None for those that see everything; each is tested once.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    block_size: int
    max_blocks: int
    max_batch: int
    dtype: str
    windows: tuple[int | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What one case of a self-test came to.

    Attributes:
        backend: Name of the implementation.
        case: What was computed.
        outcome: "refused" if the backend cannot run here or does not serve the shape, "failed" if it is wrong or breaks.
        max_error: Largest difference from dense attention; None if nothing was computed.
        detail: Why, unless it passed.
    """

    backend: str
    case: str
    outcome: Literal["passed", "refused", "failed"]
    max_error: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """A ragged batch: lengths of its rows with their new tokens, and how many of each row's last tokens ask."""

    name: str
    lengths: tuple[int, ...]
    num_queries: int
    window: int | None


def load_backend(name: str) -> PagedAttention:
    """The implementation called `name`; its module is imported only now, for a JAX that no longer has what it needs.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown attention backend {name!r}; known are {', '.join(BACKENDS)}")
    return import_module(f"lamps_jax.models.attention.{name}").paged_attention


def obstacle(name: str) -> str:
    """Why this machine cannot run the backend called `name`, in words; empty if it can."""
    platform, device = jax.default_backend(), jax.local_devices()[0]
    if name == "llvm_cpu" and platform != "cpu":
        return f"llvm_cpu needs a CPU, and JAX computes on {platform} here"
    if name == "pallas_tpu" and platform != "tpu":
        return f"pallas_tpu needs a TPU, and JAX computes on {platform} here"
    if name == "pallas_gpu":
        if platform != "gpu" or "cuda" not in device.client.platform_version.lower():
            return f"pallas_gpu needs an NVIDIA GPU, and JAX computes on {platform} here"
        capability = str(device.compute_capability)
        if tuple(int(part) for part in capability.split(".")) < (8, 0):
            return f"pallas_gpu needs compute capability 8.0 (A100) or later, and this GPU has {capability}"
    return ""


def self_test(name: str, shape: AttentionShape, *, load: Callable[[str], PagedAttention] = load_backend) -> tuple[SelfTest, ...]:
    """The backend called `name` on a few small ragged batches of `shape`, against dense attention; never raises for the backend.

    Everything compiles and runs on the default device, on a pool of its own of a few blocks. `reference`, which the others are
    held against, shows by it only that it compiles here and is finite over a table of full width.

    Args:
        name: One of `BACKENDS`.
        shape: The model's.
        load: How the implementation is found.

    Raises:
        ValueError: If there is no backend of that name.
    """
    if reason := obstacle(name):
        return (SelfTest(name, "platform", "refused", detail=reason),)
    try:
        attention = load(name)
    except ImportError as error:
        return (SelfTest(name, "import", "failed", detail=_describe(error)),)
    cases = [case for case in _cases(shape) if case.num_queries == 1 or name not in DECODES_ONLY]
    return tuple(_run(name, attention, shape, case, seed) for seed, case in enumerate(cases))


def self_test_all(shape: AttentionShape) -> tuple[SelfTest, ...]:
    """The self-tests of every backend, those that cannot run here being refused."""
    return tuple(result for name in BACKENDS for result in self_test(name, shape))


def _cases(shape: AttentionShape) -> list[_Case]:
    """Batches that fit the table: one token, a block's edges, a few blocks; a whole chunk, and one behind a cached prefix."""
    longest = min(shape.max_blocks * shape.block_size, 5 * shape.block_size + 3)
    lengths = tuple(min(length, longest) for length in (longest, 1, shape.block_size, shape.block_size + 1))
    chunk = min(CHUNK, longest)
    # A window of thousands shows its edge only behind it: half of the longest context stands in for it.
    windows = (window and min(window, max(1, longest // 2)) for window in shape.windows)
    cases = []
    for window in dict.fromkeys(windows):
        suffix = "" if window is None else f", window {window}"
        cases += [
            _Case(f"decode{suffix}", lengths[: shape.max_batch], 1, window),
            _Case(f"chunk{suffix}", (chunk,), chunk, window),
            _Case(f"chunk after a prefix{suffix}", (longest,), min(chunk, max(1, longest // 2)), window),
        ]
    return cases


def _run(name: str, attention: PagedAttention, shape: AttentionShape, case: _Case, seed: int) -> SelfTest:
    q, blocks, table, positions = _batch(shape, case, seed)
    try:
        with warnings.catch_warnings():
            # JAX 0.11.2 announces the end of the Triton backend at each lowering; nothing that a user could do about.
            warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated", DeprecationWarning)
            ours = jax.jit(partial(attention, window=case.window))(q, blocks, table, positions)
        ours = np.asarray(ours, np.float32)
    except Unsupported as error:
        return SelfTest(name, case.name, "refused", detail=str(error))
    except Exception as error:  # whatever a compiler or a device may say: the caller has another backend
        logger.debug("self-test of %s, %s", name, case.name, exc_info=True)
        return SelfTest(name, case.name, "failed", detail=_describe(error))
    if not np.isfinite(ours).all():
        return SelfTest(name, case.name, "failed", detail="the output has numbers that are not finite")
    rows = len(case.lengths)  # the others are padding, too many of them for dense attention's memory
    expected = _expected(q[:rows], blocks, table[:rows], positions[:rows], case.window)
    error, tolerance = float(np.abs(ours[:rows] - expected).max()), TOLERANCES[jnp.dtype(shape.dtype).itemsize]
    if error > tolerance:
        return SelfTest(name, case.name, "failed", error, f"off by {error:.2g}, more than {tolerance}")
    return SelfTest(name, case.name, "passed", error)


def _expected(q: jax.Array, blocks: LayerBlocks, table: jax.Array, positions: jax.Array, window: int | None) -> np.ndarray:
    """Dense attention in full float32 over as much of the table as the batch uses."""
    used = int(positions.max()) // blocks[0].shape[2] + 1
    dense = cast(PagedAttention, jax.jit(reference.paged_attention, static_argnames="window"))
    with jax.default_matmul_precision("highest"):
        return np.asarray(dense(q, blocks, table[:, :used], positions, window=window))


def _batch(shape: AttentionShape, case: _Case, seed: int) -> tuple[jax.Array, LayerBlocks, jax.Array, jax.Array]:
    """Random queries, and blocks scattered over a small pool; a decode batch is padded to its largest with null rows."""
    rng = np.random.default_rng(seed)
    rows = shape.max_batch if case.num_queries == 1 else 1
    needed = [-(-length // shape.block_size) for length in case.lengths]
    ids = 1 + rng.permutation(sum(needed) + 1)  # one of them nobody's
    table = np.zeros((rows, shape.max_blocks), np.int32)
    positions = np.zeros((rows, case.num_queries), np.int32)
    for row, (length, count) in enumerate(zip(case.lengths, needed, strict=True)):
        table[row, :count], ids = ids[:count], ids[count:]
        positions[row] = np.arange(length - case.num_queries, length)
    size = (sum(needed) + 2, shape.num_kv_heads, shape.block_size, shape.head_dim)
    dtype = jnp.dtype(shape.dtype)
    keys, values = (
        encode(jnp.asarray(rng.standard_normal(size), jnp.float32).astype(dtype), storage_dtype(dtype)) for _ in range(2)
    )
    q = jnp.asarray(rng.standard_normal((rows, case.num_queries, shape.num_heads, shape.head_dim)), jnp.float32)
    return q, (keys, values), jnp.asarray(table), jnp.asarray(positions)


def _describe(error: Exception) -> str:
    """The kind and the first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
