"""Choosing tokens on the device, a row a request: greedy or drawn, with temperature, top-k and top-p."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32


class SamplingRows(NamedTuple):
    """How each row's token is chosen; the fields are those of `SamplingParams`.

    Attributes:
        position: Where the new token will stand. With the seed it fixes the random numbers, so that a request draws the same
            tokens however it was batched, preempted or recomputed.
        ban_eos: Whether end-of-text tokens may not be chosen.
    """

    temperature: Float[Array, " batch"]
    top_p: Float[Array, " batch"]
    top_k: Int[Array, " batch"]
    seed: UInt32[Array, " batch"]
    position: Int[Array, " batch"]
    ban_eos: Bool[Array, " batch"]


def sample(logits: Float[Array, "batch vocab"], rows: SamplingRows, eos_token_ids: tuple[int, ...]) -> Int[Array, " batch"]:
    """One token a row. Nothing is drawn or sorted in a batch where no row asks for it."""
    if eos_token_ids:
        banned = jnp.zeros(logits.shape[-1], bool).at[jnp.array(eos_token_ids)].set(True)
        logits = jnp.where(rows.ban_eos[:, None] & banned, -jnp.inf, logits)
    greedy = logits.argmax(-1).astype(jnp.int32)
    drawn = rows.temperature > 0
    return lax.cond(drawn.any(), lambda: jnp.where(drawn, _draw(logits, rows), greedy), lambda: greedy)


def _draw(logits: Float[Array, "batch vocab"], rows: SamplingRows) -> Int[Array, " batch"]:
    # Relative to the likeliest, so that no temperature, however small, makes an infinity of it.
    relative = logits - logits.max(-1, keepdims=True)
    scaled = relative / jnp.where(rows.temperature > 0, rows.temperature, 1.0)[:, None]
    filters = (rows.top_k > 0) | (rows.top_p < 1.0)
    scaled = lax.cond(filters.any(), lambda: _keep_likely(scaled, rows), lambda: scaled)
    noise = jax.vmap(lambda seed, position: _gumbel(seed, position, logits.shape[-1]))(rows.seed, rows.position)
    return (scaled + noise).argmax(-1).astype(jnp.int32)  # the Gumbel-max trick: a draw from softmax(scaled)


def _gumbel(seed: Array, position: Array, size: int) -> Array:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed), position)
    return jax.random.gumbel(key, (size,), jnp.float32)


def _keep_likely(scaled: Float[Array, "batch vocab"], rows: SamplingRows) -> Float[Array, "batch vocab"]:
    """Scores with all but the `top_k` likeliest at minus infinity, and of those only the likeliest that reach `top_p`.

    The order is transformers': top-p counts the probabilities that top-k has left. Tokens tied with the last one kept stay.
    """
    descending = jnp.sort(scaled, axis=-1, descending=True)
    ranks = jnp.arange(scaled.shape[-1])
    in_top_k = (rows.top_k[:, None] == 0) | (ranks < rows.top_k[:, None])
    descending = jnp.where(in_top_k, descending, -jnp.inf)
    probabilities = jax.nn.softmax(descending, axis=-1)
    before = probabilities.cumsum(-1) - probabilities
    # A sum in float32 reaches 1 before the last token; where top-p is off, it must not cut the tail.
    kept = in_top_k & ((before < rows.top_p[:, None]) | (rows.top_p[:, None] >= 1.0) | (ranks == 0))
    last = jnp.take_along_axis(descending, kept.sum(-1, keepdims=True) - 1, axis=-1)
    return jnp.where(scaled >= last, scaled, -jnp.inf)
