"""Paged attention for NVIDIA GPUs, in Pallas-Triton: one program a KV head reads the row's blocks where they lie.

Two kernels. With one query of one head to a KV head (multi-head decode) every byte read is used once: no tensor core helps, so
`_stream_kernel` multiplies and adds in float32, and each place of its tile keeps a softmax of its own, so that nothing crosses
warps before the end. Where several queries share a KV head (grouped heads, prefill) `_tile_kernel` reads each block once for
all of them and multiplies on the tensor cores.

Both have loops whose trip counts depend on the row's context: what lies beyond costs nothing, whatever the table's width.

JAX deprecates the Triton backend from 0.11 on (0.11.2 warns at each lowering): this file alone would have to change.

Source: Dao et al., 2022, FlashAttention; Dao et al., 2023, Flash-Decoding (the split over the context); Kwon et al., 2023,
PagedAttention.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks
from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.reference import MASKED

MAX_HEAD_DIM = 256
"""Beyond it a tile's accumulator does not fit the registers."""

MIN_DOT = 16
"""Smallest side of a tensor-core product."""


class Stream(NamedTuple):
    """Sizes of a program of the streaming kernel.

    Attributes:
        elements: Keys, and as many values, in a step of its loop.
    """

    elements: int
    num_warps: int


STREAMS = {2: Stream(2048, 4), 4: Stream(1024, 4)}
"""By bytes of an element: 4 KiB of keys and 4 KiB of values are on their way while as much is being worked on.

Of five sizes tried on an H200, the one that is within 5 % of the best for heads of 128 and 256 at batches from 1 to 64, each with
the number of parts that suited it.
"""

PROGRAMS_PER_CORE = 6
"""Programs that a multiprocessor should hold at a time: with fewer in all, each context is split."""

SPLIT_TOKENS = 64
"""A part of a split context is this long at least when the table is full: shorter ones cost more to merge than they gain."""

MULTIPROCESSORS = 108
"""Of the chip that is compiled for, where JAX does not say: an A100's."""


class Tile(NamedTuple):
    """Sizes of a program of the tile kernel."""

    rows: int
    tokens: int
    num_warps: int
    num_stages: int


TILES: dict[tuple[int, int], Tile] = {
    (64, 2): Tile(rows=64, tokens=64, num_warps=4, num_stages=3),
    (128, 2): Tile(rows=64, tokens=64, num_warps=4, num_stages=2),
    (256, 2): Tile(rows=64, tokens=32, num_warps=4, num_stages=2),
    (64, 4): Tile(rows=32, tokens=32, num_warps=4, num_stages=2),
    (128, 4): Tile(rows=32, tokens=32, num_warps=4, num_stages=2),
    (256, 4): Tile(rows=32, tokens=16, num_warps=8, num_stages=2),
}
"""By head size and bytes of an element.

Shared memory holds the queries and, for each stage, a tile of keys and one of values: at most 96 KiB as compiled for an H200,
where an A100 has 163 KiB and an H200 227. More rows would read the context fewer times, and spill registers.
"""


def paged_attention(
    q: Float[Array, "batch queries heads dim"],
    blocks: LayerBlocks,
    block_table: Int[Array, "batch max_blocks"],
    positions: Int[Array, "batch queries"],
    window: int | None = None,
    *,
    splits: int | None = None,
    stream: Stream | None = None,
    tile: Tile | None = None,
    interpret: bool = False,
) -> Float[Array, "batch queries heads dim"]:
    """Attention of each query to its row's tokens at or before its position, or the last `window` of them.

    Args:
        q: The queries.
        blocks: The layer's keys and values.
        block_table: Each row's blocks; entries beyond its context are not read.
        positions: Where each query stands in its row.
        window: How many tokens a query sees, its own included; None for all.
        splits: Parts that a decoded row's context is read in; None chooses by the chip.
        stream: Sizes of the streaming kernel; None takes those of the table.
        tile: Sizes of the tile kernel; None takes those of the table.
        interpret: Runs the kernel in plain JAX, for machines without such a GPU.

    Raises:
        Unsupported: If the head size is above 256, or keys are stored in less than 16 bits or as integers.
    """
    keys, values = blocks
    batch, num_queries, num_heads, head_dim = q.shape
    kv_heads, block_size = keys.shape[1:3]
    _check(head_dim, keys.dtype)
    rows = num_queries * (num_heads // kv_heads)
    tile = _fitted(tile or TILES[max(64, _padded(head_dim)), keys.dtype.itemsize], rows)
    if rows > tile.rows:
        splits = 1  # a chunk's tiles fill the chip, and parts of so many queries would be costly to write
    elif splits is None:
        splits = _num_splits(batch * kv_heads, block_table.shape[1] * block_size)
    static = {"block_size": block_size, "head_dim": head_dim, "window": window, "splits": splits}
    if rows == 1:
        stream = stream or STREAMS[keys.dtype.itemsize]
        kernel = functools.partial(_stream_kernel, tokens=stream.elements // _padded(head_dim), **static)
        num_tiles, num_warps, num_stages = 1, stream.num_warps, 1
    else:
        group = num_heads // kv_heads
        kernel = functools.partial(_tile_kernel, rows=tile.rows, tokens=tile.tokens, group=group, **static)
        num_tiles, num_warps, num_stages = pl.cdiv(rows, tile.rows), tile.num_warps, tile.num_stages
    lead = (batch, num_queries, num_heads)
    # What reads the attention multiplies it as keys are stored: rounded here, it needs no pass of its own.
    parts = [jax.ShapeDtypeStruct(q.shape, keys.dtype)]
    if splits > 1:
        parts = [jax.ShapeDtypeStruct((*lead, splits, *rest), jnp.float32) for rest in ((head_dim,), (), ())]
    whole = pl.BlockSpec(memory_space=pl.ANY)
    outputs = pl.pallas_call(
        kernel,
        grid=(batch, kv_heads, num_tiles * splits),
        in_specs=[whole] * 5,
        out_specs=[whole] * len(parts),
        out_shape=parts,
        compiler_params=plgpu.CompilerParams(num_warps=num_warps, num_stages=num_stages),
        interpret=interpret,
        name="paged_attention",
    )(block_table, positions, q, keys, values)
    return _merge(*outputs).astype(keys.dtype) if splits > 1 else outputs[0]


def _check(head_dim: int, dtype: jnp.dtype) -> None:
    if head_dim > MAX_HEAD_DIM:
        raise Unsupported(f"pallas_gpu serves head sizes up to {MAX_HEAD_DIM}, got {head_dim}; use xla")
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize not in STREAMS:
        # Besides, Pallas computes offsets in 64 bits only for arrays above 4 GiB: with 8-bit numbers that is too late.
        raise Unsupported(f"pallas_gpu reads keys and values of 16 or 32-bit floats, got {dtype}; use xla")


def _padded(head_dim: int) -> int:
    """The power of two that a head takes up in registers."""
    return max(MIN_DOT, 1 << (head_dim - 1).bit_length())


def _fitted(tile: Tile, rows: int) -> Tile:
    """`tile` with no more rows than there are to a KV head."""
    return tile._replace(rows=min(tile.rows, max(MIN_DOT, 1 << (rows - 1).bit_length())))


def _num_splits(programs: int, max_tokens: int) -> int:
    """Parts of each context so that `programs` times as many fill the chip once."""
    cores = getattr(jax.local_devices()[0], "core_count", None) or MULTIPROCESSORS
    return max(1, min(round(PROGRAMS_PER_CORE * cores / programs), max_tokens // SPLIT_TOKENS))


def _stream_kernel(
    table: Any, positions: Any, q: Any, keys: Any, values: Any, *outputs: Any,
    tokens: int, block_size: int, head_dim: int, window: int | None, splits: int,
) -> None:  # fmt: skip
    """One query of one head over one part of its context, `tokens` at a time."""
    row, head, split = (pl.program_id(axis) for axis in range(3))
    position = positions[row, 0]
    dims = jnp.arange(_padded(head_dim))
    query = plgpu.load(q.at[row, 0, head, dims], mask=dims < head_dim, other=0.0).astype(jnp.float32) * head_dim**-0.5

    first, last = _steps(position, position, window, tokens, split, splits)

    def visible(step: Array) -> tuple[Array, Array]:
        at = step * tokens + jnp.arange(tokens)
        return at, _visible(at, position, window) & (step < last)

    def load_blocks(step: Array) -> Array:
        at, mask = visible(step)
        return plgpu.load(table.at[row, lax.div(at, block_size)], mask=mask, other=0)

    def load(step: Array, block: Array) -> tuple[Array, Array]:
        at, mask = visible(step)
        return _load_tile(keys, values, block, head, at, mask, block_size=block_size, head_dim=head_dim)

    def attend(step: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        total, norm, peak, key, value, block = carry
        following = load(step + 1, block)  # on their way while the keys and values that have come are worked on
        next_block = load_blocks(step + 2)
        _, mask = visible(step)
        scores = jnp.where(mask, jnp.sum(key.astype(jnp.float32) * query[None, :], axis=1), MASKED)
        new_peak = jnp.maximum(peak, scores)
        scale, weights = jnp.exp(peak - new_peak), jnp.exp(scores - new_peak)
        total = total * scale[:, None] + weights[:, None] * value.astype(jnp.float32)
        return total, norm * scale + weights, new_peak, *following, next_block

    start = (jnp.zeros((tokens, dims.size), jnp.float32), jnp.zeros(tokens, jnp.float32), jnp.full(tokens, MASKED, jnp.float32))
    ahead = (*load(first, load_blocks(first)), load_blocks(first + 1))
    total, norm, peak, *_ = lax.fori_loop(first, last, attend, (*start, *ahead))
    # A place that saw nothing has the peak MASKED, so its weight is 0 whatever it has summed.
    top = jnp.max(peak)
    weights = jnp.exp(peak - top)
    total, norm = jnp.sum(total * weights[:, None], axis=0), jnp.sum(norm * weights)
    _store(outputs, (row, 0, head), total, norm, top, None, split, head_dim)


def _tile_kernel(
    table: Any, positions: Any, q: Any, keys: Any, values: Any, *outputs: Any,
    rows: int, tokens: int, group: int, block_size: int, head_dim: int, window: int | None, splits: int,
) -> None:  # fmt: skip
    """`rows` pairs of a query and a head that share one KV head, over one part of the context, `tokens` at a time."""
    row, head, part = (pl.program_id(axis) for axis in range(3))
    tile, split = part // splits, part % splits
    num_queries = positions.shape[1]
    pairs = tile * rows + jnp.arange(rows)
    exists = pairs < num_queries * group
    query_index, query_head = lax.div(pairs, group), head * group + lax.rem(pairs, group)
    repeated = jnp.minimum(query_index, num_queries - 1)  # pairs that are too many repeat the last query, and are not stored
    position = plgpu.load(positions.at[row, repeated])
    dims = jnp.arange(_padded(head_dim))
    at_query = _by_dim((row, repeated, query_head), dims)
    query = plgpu.load(q.at[at_query], mask=(dims < head_dim)[None, :], other=0.0).astype(keys.dtype)

    def attend(step: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        total, norm, peak = carry
        at = step * tokens + jnp.arange(tokens)
        in_context = at <= furthest
        block = plgpu.load(table.at[row, lax.div(at, block_size)], mask=in_context, other=0)
        key, value = _load_tile(keys, values, block, head, at, in_context, block_size=block_size, head_dim=head_dim)
        visible = _visible(at[None, :], position[:, None], window)
        scores = jnp.where(visible, _dot(query, key, trans_b=True) * head_dim**-0.5, MASKED)
        new_peak = jnp.maximum(peak, jnp.max(scores, axis=1))
        scale, weights = jnp.exp(peak - new_peak), jnp.exp(scores - new_peak[:, None])
        total = total * scale[:, None] + _dot(weights.astype(value.dtype), value)
        return total, norm * scale + jnp.sum(weights, axis=1), new_peak

    start = (jnp.zeros((rows, dims.size), jnp.float32), jnp.zeros(rows, jnp.float32), jnp.full(rows, MASKED, jnp.float32))
    nearest, furthest = jnp.min(position), jnp.max(position)
    first, last = _steps(nearest, furthest, window, tokens, split, splits)
    total, norm, peak = lax.fori_loop(first, last, attend, start)
    _store(outputs, (row, query_index, query_head), total, norm, peak, exists, split, head_dim)


def _visible(at: Array, position: Array, window: int | None) -> Array:
    visible = at <= position
    return visible if window is None else visible & (at > position - window)


def _steps(nearest: Array, furthest: Array, window: int | None, tokens: int, split: Array, splits: int) -> tuple[Array, Array]:
    """The tiles of this part: those between the first and the last visible token, divided equally."""
    first = 0 if window is None else lax.div(jnp.maximum(nearest - window + 1, 0), tokens)
    end = lax.div(furthest, tokens) + 1
    share = lax.div(end - first + splits - 1, splits)
    begin = first + split * share
    return begin, jnp.minimum(begin + share, end)


def _load_tile(
    keys: Any, values: Any, block: Array, head: Array, at: Array, mask: Array, *, block_size: int, head_dim: int
) -> tuple[Array, Array]:
    """Keys and values of the tokens at `at` in their blocks, zero where `mask` says no: what nobody wrote may be no number."""
    dims = jnp.arange(_padded(head_dim))[None, :]
    index = (block[:, None], head, lax.rem(at, block_size)[:, None], dims)
    mask = mask[:, None] & (dims < head_dim)
    return plgpu.load(keys.at[index], mask=mask, other=0.0), plgpu.load(values.at[index], mask=mask, other=0.0)


def _dot(a: Array, b: Array, *, trans_b: bool = False) -> Array:
    """A product on the tensor cores, in full float32 where the operands are."""
    return plgpu.dot(a, b, trans_b=trans_b, precision=lax.Precision.HIGHEST if a.dtype == jnp.float32 else None)


def _store(
    outputs: tuple[Any, ...], at: tuple[Any, ...], total: Array, norm: Array, peak: Array,
    exists: Array | None, split: Array, head_dim: int,
) -> None:  # fmt: skip
    """Writes the attention, or the part of it that `_merge` puts together, of the queries that there are."""
    dims = jnp.arange(_padded(head_dim))
    in_head = dims < head_dim
    mask = in_head if exists is None else exists[:, None] & in_head[None, :]
    spread = _by_dim(at, dims)
    if len(outputs) == 1:
        plgpu.store(outputs[0].at[spread], (total / norm[..., None]).astype(outputs[0].dtype), mask=mask)
        return
    plgpu.store(outputs[0].at[*spread[:-1], split, spread[-1]], total, mask=mask)
    for output, number in zip(outputs[1:], (norm, peak), strict=True):
        if exists is None:
            output[*at, split] = number
        else:
            plgpu.store(output.at[*at, split], number, mask=exists)


def _by_dim(at: tuple[Any, ...], dims: Array) -> tuple[Any, ...]:
    """The index of whole heads: that of a scalar place for one vector, of an array of places for a matrix."""
    if not any(jnp.ndim(index) for index in at):
        return (*at, dims)
    return (*(index[:, None] if jnp.ndim(index) else index for index in at), dims[None, :])


def _merge(
    total: Float[Array, "*lead splits dim"], norm: Float[Array, "*lead splits"], peak: Float[Array, "*lead splits"]
) -> Float[Array, "*lead dim"]:
    """One softmax of those over the parts; a part that saw nothing has the peak MASKED and counts nothing."""
    weights = jnp.exp(peak - peak.max(-1, keepdims=True))
    return jnp.sum(total * weights[..., None], axis=-2) / jnp.sum(norm * weights, axis=-1)[..., None]
