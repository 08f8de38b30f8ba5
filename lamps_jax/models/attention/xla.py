"""Paged attention in plain XLA operations: online softmax over groups of blocks; runs everywhere.

The loop's trip count depends on the longest context of the batch, so context length needs no shape of its own, and nothing larger
than one group of blocks is ever gathered.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks, decode
from lamps_jax.models.attention.reference import MASKED

GROUP_TOKENS = 64
"""Tokens gathered at a time."""


def paged_attention(
    q: Float[Array, "batch queries heads dim"],
    blocks: LayerBlocks,
    block_table: Int[Array, "batch max_blocks"],
    positions: Int[Array, "batch queries"],
    window: int | None = None,
) -> Float[Array, "batch queries heads dim"]:
    """Attention of each query to the tokens of its row at or before its position, which the blocks hold already.

    With a `window`, to the last so many of them, the query's own included; groups of blocks before every window are skipped.

    Source: Milakov and Gimelshein, 2018, Online normalizer calculation for softmax; Dao et al., 2022, FlashAttention.
    """
    batch, num_queries, num_heads, head_dim = q.shape
    kv_heads, block_size = blocks[0].shape[1:3]
    group_blocks = max(1, min(GROUP_TOKENS // block_size, block_table.shape[1]))
    tokens = group_blocks * block_size
    table = jnp.pad(block_table, ((0, 0), (0, -block_table.shape[1] % group_blocks)))
    queries = (q * head_dim**-0.5).reshape(batch, num_queries, kv_heads, num_heads // kv_heads, head_dim)

    def gather(stored: Array, ids: Int[Array, "batch group_blocks"]) -> Float[Array, "batch kv_heads tokens dim"]:
        return decode(stored[ids]).swapaxes(1, 2).reshape(batch, kv_heads, tokens, head_dim)

    def attend_to_group(group: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        total, norm, peak = carry
        ids = lax.dynamic_slice_in_dim(table, group * group_blocks, group_blocks, axis=1)
        keys, values = gather(blocks[0], ids), gather(blocks[1], ids)
        scores = jnp.einsum("bqhgd,bhtd->bhgqt", queries, keys, preferred_element_type=jnp.float32)
        key_positions = group * tokens + jnp.arange(tokens)
        visible = key_positions <= positions[:, :, None]  # [batch, queries, tokens]
        if window is not None:
            visible &= key_positions > positions[:, :, None] - window
        scores = jnp.where(visible[:, None, None], scores, MASKED)
        new_peak = jnp.maximum(peak, scores.max(-1))
        scale, weights = jnp.exp(peak - new_peak), jnp.exp(scores - new_peak[..., None])
        total = total * scale[..., None] + jnp.einsum("bhgqt,bhtd->bhgqd", weights, values, preferred_element_type=jnp.float32)
        return total, norm * scale + weights.sum(-1), new_peak

    shape = (batch, kv_heads, num_heads // kv_heads, num_queries)
    start = (jnp.zeros((*shape, head_dim)), jnp.zeros(shape), jnp.full(shape, MASKED))
    first = 0 if window is None else jnp.maximum(positions.min() - window + 1, 0) // tokens
    total, norm, _ = lax.fori_loop(first, positions.max() // tokens + 1, attend_to_group, start)
    return (total / norm[..., None]).transpose(0, 3, 1, 2, 4).reshape(q.shape)
