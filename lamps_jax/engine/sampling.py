"""Choosing tokens on the device, a row a request: greedy or drawn, with temperature, top-k and top-p."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from lamps_jax.sched.request import MAX_LOGPROBS

DIGIT_BITS = 4
"""Bits found in one pass over the scores: more take fewer passes with more comparisons each."""


NUM_LIKELIEST = MAX_LOGPROBS
"""Likeliest tokens that are reported where log-probabilities are asked for."""


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


class ControlRows(NamedTuple):
    """What changes each row's logits before its token is chosen.

    Attributes:
        allowed: Bits of the tokens that may be chosen, 32 to an integer, the lowest token in the lowest bit.
        token_ids: Tokens that something is done to, each at most once; behind them numbers that are no token.
        added: What is added to their logits.
        repeated: Whether the repetition penalty is for them.
        min_p: As in `SamplingParams`; it is applied to what the temperature leaves.
    """

    allowed: UInt32[Array, "batch words"]
    token_ids: Int[Array, "batch changed"]
    added: Float[Array, "batch changed"]
    repeated: Bool[Array, "batch changed"]
    repetition_penalty: Float[Array, " batch"]
    min_p: Float[Array, " batch"]


def controlled(
    logits: Float[Array, "batch vocab"], control: ControlRows, temperature: Float[Array, " batch"]
) -> Float[Array, "batch vocab"]:
    """The logits with penalties and biases, and at minus infinity what is not allowed.

    Source of the repetition penalty: Keskar et al., 2019, CTRL, section 4.1, with negative logits multiplied as everywhere since.
    """
    rows, vocab = jnp.arange(logits.shape[0])[:, None], logits.shape[-1]
    repeated = jnp.zeros(logits.shape, bool).at[rows, control.token_ids].max(control.repeated, mode="drop")
    penalty = control.repetition_penalty[:, None]
    logits = jnp.where(repeated, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)
    logits = logits.at[rows, control.token_ids].add(control.added, mode="drop")
    bits = control.allowed[:, :, None] >> jnp.arange(32, dtype=jnp.uint32) & jnp.uint32(1)
    allowed = bits.reshape(bits.shape[0], -1)[:, :vocab] != 0
    logits = jnp.where(allowed, logits, -jnp.inf)
    relative = logits - logits.max(-1, keepdims=True)
    heat = jnp.where(temperature > 0, temperature, 1.0)
    unlikely = relative < (heat * jnp.log(control.min_p))[:, None]  # the logarithm of 0 is less than anything
    return jnp.where(unlikely, -jnp.inf, logits)


def likeliest(
    logits: Float[Array, "batch vocab"], chosen: Int[Array, " batch"]
) -> tuple[Float[Array, " batch"], Int[Array, "batch likeliest"], Float[Array, "batch likeliest"]]:
    """The log-probability of each row's token, and the tokens of the largest ones with theirs."""
    logprobs = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    values, token_ids = lax.top_k(logprobs, min(NUM_LIKELIEST, logits.shape[-1]))
    return jnp.take_along_axis(logprobs, chosen[:, None], axis=1)[:, 0], token_ids.astype(jnp.int32), values


def without_banned(
    logits: Float[Array, "batch vocab"], rows: SamplingRows, eos_token_ids: tuple[int, ...]
) -> Float[Array, "batch vocab"]:
    """The logits, at minus infinity for end-of-text tokens where they are banned."""
    if not eos_token_ids:
        return logits
    ends = jnp.zeros(logits.shape[-1], bool).at[jnp.array(eos_token_ids)].set(True)
    return jnp.where(rows.ban_eos[:, None] & ends, -jnp.inf, logits)


def sample(logits: Float[Array, "batch vocab"], rows: SamplingRows, eos_token_ids: tuple[int, ...]) -> Int[Array, " batch"]:
    """One token a row. Nothing is drawn or sorted in a batch where no row asks for it."""
    logits = without_banned(logits, rows, eos_token_ids)
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

    Nothing is sorted: the least score that is kept is searched for digit by digit. Sorting rows of fifty thousand scores takes
    ten times as long on a CPU, and on a GPU XLA does it with a library that keeps the whole branch out of a CUDA graph, so that
    the host waits for every step to find out whether the branch is taken.
    """
    keys = _ordered(scaled)
    least = _least_kept(keys, jnp.ones_like(scaled), rows.top_k.astype(jnp.float32))
    in_top_k = (rows.top_k[:, None] == 0) | (keys >= least[:, None])
    weights = jnp.where(in_top_k, jnp.exp(scaled - scaled.max(-1, keepdims=True)), 0.0)
    least = _least_kept(keys, weights, rows.top_p * weights.sum(-1))
    in_top_p = (rows.top_p[:, None] >= 1.0) | (keys >= least[:, None])
    return jnp.where(in_top_k & in_top_p, scaled, -jnp.inf)


def _ordered(x: Float[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Integers in the order of the numbers."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    return jnp.where(bits >> 31 == 0, bits | jnp.uint32(1 << 31), ~bits)


def _least_kept(
    keys: UInt32[Array, "batch vocab"], weights: Float[Array, "batch vocab"], wanted: Float[Array, " batch"]
) -> UInt32[Array, " batch"]:
    """For each row the largest number such that the keys at or above it weigh `wanted` at least; 0 if all weigh less."""
    least = jnp.zeros(keys.shape[0], jnp.uint32)
    for shift in range(32 - DIGIT_BITS, -1, -DIGIT_BITS):
        candidates = least[:, None] + (jnp.arange(1, 1 << DIGIT_BITS, dtype=jnp.uint32) << shift)
        above = keys[:, None, :] >= candidates[:, :, None]
        reached = jnp.where(above, weights[:, None, :], 0.0).sum(-1) >= wanted[:, None]
        least += reached.sum(-1).astype(jnp.uint32) << shift
    return least
