"""Paged attention for TPUs, in Pallas-Mosaic: a decoded row's blocks stream from HBM, several on their way at a time.

A block holds all its heads' tokens in one piece, so each copy is one contiguous transfer. Every byte is used once for each of
the query heads that share it, too little for the matrix unit, so the vector unit multiplies and adds in float32.

It decodes; chunks of a prefill go to `xla`, which gathers groups of blocks and multiplies on the matrix unit. Head sizes must be
multiples of 128: a pool of narrower heads lies in another layout, which XLA would copy whole to hand it to the kernel.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks
from lamps_jax.models.attention import xla
from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.reference import MASKED

LANES = 128
"""Width of a vector register: what the head size must be a multiple of."""

SUBLANES = 8
"""Height of a vector register of 32-bit numbers: what the block size must be a multiple of."""

BUFFER_BYTES = 4 << 20
"""VMEM for the blocks that are on their way, of the 16 MiB that a kernel gets by default."""

MAX_BLOCK_BYTES = 1 << 20
"""Largest block of keys: its float32 copies must fit beside the buffers."""

MAX_COPIES = 16
"""Blocks on their way at a time, at most: the more heads a device has, the fewer it needs."""

MAX_TABLE = 1 << 17
"""Entries of the block table, `batch * max_blocks`: 512 KiB of the 1 MiB of scalar memory that holds it."""


def paged_attention(
    q: Float[Array, "batch queries heads dim"],
    blocks: LayerBlocks,
    block_table: Int[Array, "batch max_blocks"],
    positions: Int[Array, "batch queries"],
    window: int | None = None,
    *,
    interpret: bool = False,
) -> Float[Array, "batch queries heads dim"]:
    """Attention of each query to its row's tokens at or before its position, or the last `window` of them.

    Args:
        q: The queries; more than one a row go to `xla`.
        blocks: The layer's keys and values.
        block_table: Each row's blocks; entries beyond its context are not read.
        positions: Where each query stands in its row.
        window: How many tokens a query sees, its own included; None for all.
        interpret: Runs the kernel in plain JAX, for machines without a TPU.

    Raises:
        Unsupported: If the head size, the block size, the type of the keys or the size of the table is not for this kernel.
    """
    keys, values = blocks
    batch, num_queries, num_heads, head_dim = q.shape
    kv_heads, block_size = keys.shape[1:3]
    block_bytes = kv_heads * block_size * head_dim * keys.dtype.itemsize
    _check(head_dim, block_size, keys.dtype, block_bytes, block_table.size)
    if num_queries > 1:
        return xla.paged_attention(q, blocks, block_table, positions, window)
    group = num_heads // kv_heads
    # The heads that share a KV head apart, so that each of them meets a block's heads in its own layout.
    queries = q.reshape(batch, kv_heads, group, head_dim).swapaxes(1, 2)
    num_copies = min(max(2, BUFFER_BYTES // (2 * block_bytes)), MAX_COPIES)
    row = pl.BlockSpec((1, group, kv_heads, head_dim), lambda row, *_: (row, 0, 0, 0))
    buffer = pltpu.VMEM((num_copies, kv_heads, block_size, head_dim), keys.dtype)
    attended = pl.pallas_call(
        functools.partial(_decode_kernel, max_blocks=block_table.shape[1], window=window),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=2,
            grid=(batch,),
            in_specs=[row, pl.BlockSpec(memory_space=pl.ANY), pl.BlockSpec(memory_space=pl.ANY)],
            out_specs=row,
            scratch_shapes=[buffer, buffer, pltpu.SemaphoreType.DMA((2, num_copies))],
        ),
        out_shape=jax.ShapeDtypeStruct(queries.shape, jnp.float32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        interpret=interpret,
        name="paged_attention",
    )(block_table.reshape(-1), positions.reshape(-1), queries, keys, values)
    return attended.swapaxes(1, 2).reshape(q.shape)


def _check(head_dim: int, block_size: int, dtype: jnp.dtype, block_bytes: int, table_size: int) -> None:
    if head_dim % LANES:
        raise Unsupported(f"pallas_tpu serves head sizes that are multiples of {LANES}, got {head_dim}; use xla")
    if block_size % SUBLANES:
        raise Unsupported(f"pallas_tpu serves block sizes that are multiples of {SUBLANES}, got {block_size}; use 16 or 32")
    if dtype not in (jnp.bfloat16, jnp.float32):
        raise Unsupported(f"pallas_tpu reads keys and values in bfloat16 or float32, got {dtype}; use xla")
    if block_bytes > MAX_BLOCK_BYTES:
        raise Unsupported(f"pallas_tpu reads blocks of keys up to {MAX_BLOCK_BYTES} bytes, got {block_bytes}; lower block_size")
    if table_size > MAX_TABLE:
        raise Unsupported(
            f"pallas_tpu keeps a block table of up to {MAX_TABLE} entries in scalar memory, got {table_size}; raise block_size, "
            "or lower max_model_len or max_num_seqs"
        )


def _decode_kernel(
    table: Any, positions: Any, q: Any, keys: Any, values: Any, output: Any, key_buffer: Any, value_buffer: Any, arrived: Any,
    *, max_blocks: int, window: int | None,
) -> None:  # fmt: skip
    """One row: its blocks in order, the next ones on their way meanwhile."""
    row = pl.program_id(0)
    num_copies, kv_heads, block_size, head_dim = key_buffer.shape
    group = q.shape[1]
    position = positions[row]
    first = 0 if window is None else lax.div(jnp.maximum(position - window + 1, 0), block_size)
    end = lax.div(position, block_size) + 1
    queries = q[0].astype(jnp.float32) * head_dim**-0.5

    def copies(index: Array | int) -> tuple[Any, Any]:
        block, place = table[row * max_blocks + index], lax.rem(index, num_copies)
        return (
            pltpu.make_async_copy(keys.at[block], key_buffer.at[place], arrived.at[0, place]),
            pltpu.make_async_copy(values.at[block], value_buffer.at[place], arrived.at[1, place]),
        )

    def send(index: Array | int) -> None:
        @pl.when(index < end)
        def _() -> None:
            for copy in copies(index):
                copy.start()

    def attend(index: Array, carry: tuple[tuple[Array, Array, Array], ...]) -> tuple[tuple[Array, Array, Array], ...]:
        send(index + num_copies - 1)  # into the place of the block before this one, which has been used
        for copy in copies(index):
            copy.wait()
        place = lax.rem(index, num_copies)
        key, value = key_buffer[place].astype(jnp.float32), value_buffer[place].astype(jnp.float32)
        at = index * block_size + lax.broadcasted_iota(jnp.int32, (1, block_size, 1), 1)
        visible = at <= position if window is None else (at <= position) & (at > position - window)
        return tuple(_add_block(queries[member], key, value, visible, carry[member]) for member in range(group))

    for ahead in range(num_copies - 1):
        send(first + ahead)
    column = (kv_heads, 1)
    start = (jnp.zeros((kv_heads, head_dim), jnp.float32), jnp.zeros(column, jnp.float32), jnp.full(column, MASKED, jnp.float32))
    for member, (total, norm, _) in enumerate(lax.fori_loop(first, end, attend, (start,) * group)):
        output[0, member] = total / norm


def _add_block(
    query: Float[Array, "heads dim"], key: Float[Array, "heads tokens dim"], value: Float[Array, "heads tokens dim"],
    visible: Array, carry: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The online softmax of one query of every KV head, a block further."""
    total, norm, peak = carry
    scores = jnp.where(visible, jnp.sum(query[:, None, :] * key, axis=-1, keepdims=True), MASKED)  # [heads, tokens, 1]
    new_peak = jnp.maximum(peak, scores.max(axis=1))
    scale, weights = jnp.exp(peak - new_peak), jnp.exp(scores - new_peak[:, None, :])
    return total * scale + jnp.sum(weights * value, axis=1), norm * scale + weights.sum(axis=1), new_peak
