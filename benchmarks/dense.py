"""The same model decoding over a dense cache: one contiguous stretch of keys and values a row. What paging is measured against.

A row's cache holds a fixed number of tokens, all of which a step reads; nothing is gathered, looked up or shared.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lamps_jax.kv_cache.pool import decode, encode, storage_dtype
from lamps_jax.models.attention.reference import MASKED
from lamps_jax.models.registry import LoadedModel
from lamps_jax.models.weights import bind

DenseCache = tuple[tuple[Array, Array], ...]
"""Keys and values of each layer, `[batch, kv_heads, tokens, dim]`."""


def allocate_dense(model: LoadedModel, dtype: str, *, batch: int, num_tokens: int) -> DenseCache:
    """A zeroed cache."""
    shape = model.config
    size = (batch, shape.num_kv_heads, num_tokens, shape.head_dim)
    return tuple((jnp.zeros(size, storage_dtype(dtype)), jnp.zeros(size, storage_dtype(dtype))) for _ in range(shape.num_layers))


def make_dense_decode(model: LoadedModel) -> Callable[..., tuple[DenseCache, Array]]:
    """``(weights, cache, tokens, positions) -> (cache, tokens)``: one greedy step of every row; the cache is donated."""

    def attend(positions: Int[Array, " batch"]) -> Any:
        def attend(q: Array, k: Array, v: Array, kv: Any, window: int | None = None, /) -> tuple[Array, Any]:
            # A single row is written twice: XLA would do one write again for the product that reads it, on a copy of the cache.
            rows = jnp.arange(max(2, q.shape[0])) % q.shape[0]
            keys, values = (
                stored.at[rows, :, positions[rows]].set(encode(new[rows, 0], stored.dtype))
                for stored, new in zip(kv, (k, v), strict=True)
            )
            return _attend(q[:, 0], decode(keys), decode(values), positions)[:, None], (keys, values)

        return attend

    def step(weights: tuple[Array, ...], cache: DenseCache, tokens: Array, positions: Array) -> tuple[DenseCache, Array]:
        bound = bind(model.graph, dict(zip(model.parameter_names, weights, strict=True)))
        hidden, cache = bound(tokens[:, None], positions[:, None], cache, attend(positions))
        return cache, bound.logits(hidden[:, 0]).argmax(-1).astype(jnp.int32)

    return jax.jit(step, donate_argnums=1)


def _attend(
    q: Float[Array, "batch heads dim"],
    keys: Float[Array, "batch kv_heads tokens dim"],
    values: Float[Array, "batch kv_heads tokens dim"],
    positions: Int[Array, " batch"],
) -> Float[Array, "batch heads dim"]:
    batch, heads, dim = q.shape
    kv_heads, num_tokens = keys.shape[1:3]
    grouped = (q * dim**-0.5).reshape(batch, kv_heads, heads // kv_heads, dim)
    scores = jnp.einsum("bhgd,bhtd->bhgt", grouped, keys, preferred_element_type=jnp.float32)
    visible = jnp.arange(num_tokens) <= positions[:, None]
    scores = jnp.where(visible[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("bhgt,bhtd->bhgd", weights, values, preferred_element_type=jnp.float32).reshape(q.shape)
