"""Device blocks: one pair of arrays a layer, `[block, head, slot, dim]` on every backend.

On a CPU a scatter into a bfloat16 array converts the whole array to float32 and back at every step, so there 16-bit floats are
stored as uint16 and re-labelled at the edges; nothing is converted. On a TPU an array whose last axis is shorter than a row of
lanes is laid out with the blocks innermost, and copied whole by every program that writes it; vectors there fill whole rows.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Sharding
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

LayerBlocks: TypeAlias = tuple[Array, Array]
"""Keys and values of one layer, each `[num_blocks, heads, block_size, head_dim]` in the storage type."""

Pool: TypeAlias = tuple[LayerBlocks, ...]
"""All layers."""


def allocate(
    num_layers: int,
    num_blocks: int,
    num_heads: int,
    block_size: int,
    head_dim: int,
    *,
    dtype: DTypeLike,
    sharding: Sharding | None = None,
) -> Pool:
    """A zeroed pool for keys and values of `dtype`, on the default device or as `sharding` says of every array."""
    shape, storage = (num_blocks, num_heads, block_size, storage_dim(head_dim)), storage_dtype(dtype)

    def zeros() -> Array:
        return jnp.zeros(shape, storage, device=sharding)

    return tuple((zeros(), zeros()) for _ in range(num_layers))


LANES = 128
"""Numbers in a row of a TPU's vector registers."""


def storage_dim(head_dim: int, platform: str | None = None) -> int:
    """Numbers that a key or value of `head_dim` takes on a platform, by default this one's; those added are zeros."""
    on_tpu = (platform or jax.default_backend()) == "tpu"
    return -(-head_dim // LANES) * LANES if on_tpu else head_dim


def storage_dtype(dtype: DTypeLike) -> jnp.dtype:
    """What keys and values of `dtype` are stored as on the default backend."""
    dtype = jnp.dtype(dtype)
    return jnp.dtype(jnp.uint16) if jax.default_backend() == "cpu" and dtype == jnp.bfloat16 else dtype


def encode(x: Float[Array, "*shape"], storage: DTypeLike) -> Array:
    """`x` as it is stored."""
    if jnp.dtype(storage) == jnp.uint16:
        return lax.bitcast_convert_type(x.astype(jnp.bfloat16), jnp.uint16)
    return x.astype(storage)


def decode(stored: Array) -> Float[Array, "*shape"]:
    """Stored numbers as float32."""
    if stored.dtype == jnp.uint16:
        stored = lax.bitcast_convert_type(stored, jnp.bfloat16)
    return stored.astype(jnp.float32)


def write(
    blocks: LayerBlocks,
    k: Float[Array, "tokens heads dim"],
    v: Float[Array, "tokens heads dim"],
    block_ids: Int[Array, " tokens"],
    slots: Int[Array, " tokens"],
) -> LayerBlocks:
    """The layer's blocks with one token's key and value at each ``(block_ids[i], slots[i])``; in place when donated.

    Keys and values may be shorter than what the blocks hold; zeros fill the rest.
    """
    keys, values = blocks
    at = (block_ids, slice(None), slots)
    if missing := keys.shape[-1] - k.shape[-1]:
        k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, missing))) for x in (k, v))
    return keys.at[at].set(encode(k, keys.dtype)), values.at[at].set(encode(v, values.dtype))


def gather_blocks(pool: Pool, block_ids: Int[Array, " blocks"]) -> tuple[Array, ...]:
    """Each of the blocks as one array, `[2 * layers, heads, block_size, head_dim]`: of every layer its keys, then its values."""
    arrays = [array for layer in pool for array in layer]
    # The barrier keeps XLA from gathering anew for each block: a fifth faster on a CPU, but five times as long to compile.
    rows = lax.optimization_barrier(jnp.stack([jnp.take(array, block_ids, axis=0, mode="clip") for array in arrays], axis=1))
    return tuple(rows[at] for at in range(block_ids.shape[0]))


def scatter_blocks(pool: Pool, blocks: tuple[Array, ...], block_ids: Int[Array, " blocks"]) -> Pool:
    """The pool with what `gather_blocks` gave at `block_ids`, no two of which are the same; in place when donated."""

    # One stack of whole blocks: without the barrier XLA would make each layer's own stack of slices, which a CPU takes seconds a
    # layer to compile.
    rows = lax.optimization_barrier(jnp.stack(blocks))

    def placed(array: Array, row: int) -> Array:
        return array.at[block_ids].set(rows[:, row], mode="promise_in_bounds", unique_indices=True)

    return tuple((placed(keys, 2 * layer), placed(values, 2 * layer + 1)) for layer, (keys, values) in enumerate(pool))


def block_bytes(pool: Pool) -> int:
    """Bytes of one block over all layers."""
    return sum(array.nbytes // array.shape[0] for layer in pool for array in layer)
