"""Dense attention in plain form: the oracle that every other implementation is tested against, and what training uses."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lamps_jax.kv_cache.pool import LayerBlocks, decode
from lamps_jax.models.layers import Attend, LayerKV

MASKED = -1e30
"""A score that no softmax notices, finite so that a row without any visible token stays free of NaN."""


def dense_attention(
    q: Float[Array, "batch queries heads head_dim"],
    k: Float[Array, "batch keys kv_heads head_dim"],
    v: Float[Array, "batch keys kv_heads head_dim"],
    mask: Bool[Array, "batch queries keys"],
) -> Float[Array, "batch queries heads head_dim"]:
    """Softmax attention in float32, scaled by 1/sqrt(head_dim); query heads share key heads in equal groups."""
    groups = q.shape[2] // k.shape[2]
    k, v = (jnp.repeat(x, groups, axis=2) if groups > 1 else x for x in (k, v))
    q, k, v = (x.swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
    scores = jnp.where(mask[:, None], jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32), MASKED)
    weights = jnp.exp(scores - lax.stop_gradient(scores.max(-1, keepdims=True)))
    # Dividing after the product touches head_dim numbers a query instead of all its keys.
    attended = jnp.einsum("bhqk,bhkd->bhqd", weights, v, preferred_element_type=jnp.float32)
    return (attended / weights.sum(-1, keepdims=True)).swapaxes(1, 2)


def paged_attention(
    q: Float[Array, "batch queries heads dim"],
    blocks: LayerBlocks,
    block_table: Int[Array, "batch max_blocks"],
    positions: Int[Array, "batch queries"],
    window: int | None = None,
) -> Float[Array, "batch queries heads dim"]:
    """Dense attention over all that the tables name, gathered whole: plain, and as costly as the longest context that fits."""
    batch, max_blocks = block_table.shape
    kv_heads, block_size, head_dim = blocks[0].shape[1:]

    def gather(stored: Array) -> Float[Array, "batch tokens kv_heads dim"]:
        return decode(stored[block_table]).swapaxes(2, 3).reshape(batch, max_blocks * block_size, kv_heads, head_dim)

    at = jnp.arange(max_blocks * block_size)
    visible = at <= positions[:, :, None]
    if window is not None:
        visible &= at > positions[:, :, None] - window
    return dense_attention(q.astype(jnp.float32), gather(blocks[0]), gather(blocks[1]), visible)


def attend_within(mask: Bool[Array, "batch queries keys"]) -> Attend:
    """Attention of a whole text to itself under `mask`, without any cache."""
    queries, keys = (jnp.arange(length) for length in mask.shape[1:])

    def attend(q: Array, k: Array, v: Array, kv: LayerKV, window: int | None = None, /) -> tuple[Array, LayerKV]:
        near = mask if window is None else mask & (keys > queries[:, None] - window)
        return dense_attention(q, k, v, near), kv

    return attend


def causal_mask(batch: int, length: int) -> Bool[Array, "batch length length"]:
    """Lets every token see itself and what stands before it."""
    return jnp.broadcast_to(jnp.tril(jnp.ones((length, length), bool)), (batch, length, length))
