"""Ragged batches over scattered blocks, with the dense attention that every backend must give for them."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from lamps_jax.kv_cache.pool import LayerBlocks, encode
from lamps_jax.models.attention.backend import PagedAttention
from lamps_jax.models.attention.reference import dense_attention


@dataclass(frozen=True)
class Case:
    """Random keys and values of a ragged batch, in blocks scattered over a pool of garbage, and as dense arrays."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    blocks: LayerBlocks
    table: np.ndarray
    positions: np.ndarray

    @classmethod
    def random(
        cls, lengths: list[int], *, queries: int, block_size: int, kv_heads: int, group: int, head_dim: int,
        seed: int, max_length: int, dtype: str = "float32", storage: str = "", garbage: float = 1e4,
    ) -> "Case":  # fmt: skip
        """Each row's last `queries` tokens ask; rows shorter than that repeat their first position.

        Keys and values of `dtype` are stored as it, or as `storage`; what belongs to no row is of the size of `garbage`.
        """
        rng = np.random.default_rng(seed)
        batch, width = len(lengths), -(-max_length // block_size)
        q = rng.standard_normal((batch, queries, kv_heads * group, head_dim)).astype(np.float32)
        k, v = rng.standard_normal((2, batch, width * block_size, kv_heads, head_dim)).astype(np.float32)
        if dtype == "bfloat16":
            k, v = (np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32) for x in (k, v))
        num_blocks = 1 + batch * width + 3
        shape = (num_blocks, kv_heads, block_size, head_dim)
        keys, values = garbage * rng.standard_normal((2, *shape)).astype(np.float32)  # what nobody may see
        ids = rng.permutation(np.arange(1, num_blocks))[: batch * width].reshape(batch, width).astype(np.int32)
        for row, length in enumerate(lengths):
            for at in range(length):
                keys[ids[row, at // block_size], :, at % block_size] = k[row, at]
                values[ids[row, at // block_size], :, at % block_size] = v[row, at]
            ids[row, -(-length // block_size) :] = 0  # blocks that the row does not have
        blocks = (encode(jnp.asarray(keys), storage or dtype), encode(jnp.asarray(values), storage or dtype))
        ends = np.array(lengths)[:, None] - 1
        positions = np.clip(ends - np.arange(queries)[::-1], 0, ends).astype(np.int32)
        return cls(q, k, v, blocks, ids, positions)

    def paged(self, attention: PagedAttention, window: int | None = None) -> np.ndarray:
        arguments = jnp.asarray(self.q), self.blocks, jnp.asarray(self.table), jnp.asarray(self.positions)
        return np.asarray(attention(*arguments, window=window))

    def dense(self, window: int | None = None) -> np.ndarray:
        at = np.arange(self.k.shape[1])
        mask = at <= self.positions[:, :, None]
        if window is not None:
            mask &= at > self.positions[:, :, None] - window
        return np.asarray(dense_attention(*map(jnp.asarray, (self.q, self.k, self.v, mask))))

    def padded(self) -> "Case":
        """With as many rows again as a decode batch is padded with: at position 0, of null blocks."""
        q, table, positions = (np.concatenate([x, np.zeros_like(x)]) for x in (self.q, self.table, self.positions))
        return Case(q, self.k, self.v, self.blocks, table, positions)
