"""Device blocks: one pair of arrays a layer, `[block, head, slot, dim]` on every backend.

On a CPU a scatter into a bfloat16 array converts the whole array to float32 and back at every step, so there 16-bit floats are
stored as uint16 and re-labelled at the edges; nothing is converted.
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
    shape, storage = (num_blocks, num_heads, block_size, head_dim), storage_dtype(dtype)

    def zeros() -> Array:
        return jnp.zeros(shape, storage, device=sharding)

    return tuple((zeros(), zeros()) for _ in range(num_layers))


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
    """The layer's blocks with one token's key and value at each ``(block_ids[i], slots[i])``; in place when donated."""
    keys, values = blocks
    at = (block_ids, slice(None), slots)
    return keys.at[at].set(encode(k, keys.dtype)), values.at[at].set(encode(v, values.dtype))


def gather_blocks(pool: Pool, block_ids: Int[Array, " blocks"]) -> tuple[Array, ...]:
    """Each of the blocks as one array, `[2 * layers, heads, block_size, head_dim]`: of every layer its keys, then its values."""
    arrays = [array for layer in pool for array in layer]
    return tuple(
        jnp.concatenate([lax.dynamic_slice_in_dim(array, block_ids[at], 1) for array in arrays])
        for at in range(block_ids.shape[0])
    )


def scatter_blocks(pool: Pool, blocks: tuple[Array, ...], block_ids: Int[Array, " blocks"]) -> Pool:
    """The pool with what `gather_blocks` gave at `block_ids`, no two of which are the same; in place when donated."""

    def placed(array: Array, row: int) -> Array:
        rows = jnp.stack([block[row] for block in blocks])
        return array.at[block_ids].set(rows, mode="promise_in_bounds", unique_indices=True)

    return tuple((placed(keys, 2 * layer), placed(values, 2 * layer + 1)) for layer, (keys, values) in enumerate(pool))


def block_bytes(pool: Pool) -> int:
    """Bytes of one block over all layers."""
    return sum(array.nbytes // array.shape[0] for layer in pool for array in layer)
