"""Paged attention gives what dense attention over the same tokens gives, wherever the blocks lie."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamps_jax.kv_cache.pool import LayerBlocks, encode
from lamps_jax.models.attention.reference import dense_attention
from lamps_jax.models.attention.xla import GROUP_TOKENS, paged_attention

jitted = jax.jit(paged_attention)


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
        seed: int, max_length: int, dtype: str = "float32",
    ) -> "Case":  # fmt: skip
        """Each row's last `queries` tokens ask; rows shorter than that repeat their last position."""
        rng = np.random.default_rng(seed)
        batch, width = len(lengths), -(-max_length // block_size)
        q = rng.standard_normal((batch, queries, kv_heads * group, head_dim)).astype(np.float32)
        k, v = rng.standard_normal((2, batch, width * block_size, kv_heads, head_dim)).astype(np.float32)
        if dtype == "bfloat16":
            k, v = (np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32) for x in (k, v))
        num_blocks = 1 + batch * width + 3
        shape = (num_blocks, kv_heads, block_size, head_dim)
        keys, values = 1e4 * rng.standard_normal((2, *shape)).astype(np.float32)  # what nobody may see
        ids = rng.permutation(np.arange(1, num_blocks))[: batch * width].reshape(batch, width).astype(np.int32)
        for row, length in enumerate(lengths):
            for at in range(length):
                keys[ids[row, at // block_size], :, at % block_size] = k[row, at]
                values[ids[row, at // block_size], :, at % block_size] = v[row, at]
            ids[row, -(-length // block_size) :] = 0  # blocks that the row does not have
        storage = jnp.uint16 if dtype == "bfloat16" else jnp.dtype(dtype)
        blocks = (encode(jnp.asarray(keys), storage), encode(jnp.asarray(values), storage))
        ends = np.array(lengths)[:, None] - 1
        positions = np.clip(ends - np.arange(queries)[::-1], 0, ends).astype(np.int32)
        return cls(q, k, v, blocks, ids, positions)

    def paged(self) -> np.ndarray:
        return np.asarray(jitted(jnp.asarray(self.q), self.blocks, jnp.asarray(self.table), jnp.asarray(self.positions)))

    def dense(self) -> np.ndarray:
        mask = np.arange(self.k.shape[1]) <= self.positions[:, :, None]
        return np.asarray(dense_attention(*map(jnp.asarray, (self.q, self.k, self.v, mask))))


@pytest.mark.parametrize(
    ("batch", "queries", "block_size", "kv_heads", "group", "head_dim", "max_length"),
    [
        (3, 1, 16, 2, 1, 16, 200),
        (1, 9, 4, 1, 3, 64, 90),
        (2, 5, 1, 1, 1, 8, 70),
        (2, 1, 7, 3, 2, 8, 130),
        (2, 3, 128, 1, 2, 256, 300),
    ],
)
@settings(max_examples=6)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_paged_attention_equals_dense_attention_on_ragged_batches(
    batch: int, queries: int, block_size: int, kv_heads: int, group: int, head_dim: int, max_length: int,
    data: st.DataObject, seed: int,
) -> None:  # fmt: skip
    lengths = data.draw(st.lists(st.integers(1, max_length), min_size=batch, max_size=batch))
    case = Case.random(
        lengths, queries=queries, block_size=block_size, kv_heads=kv_heads, group=group, head_dim=head_dim,
        seed=seed, max_length=max_length,
    )  # fmt: skip
    np.testing.assert_allclose(case.paged(), case.dense(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, GROUP_TOKENS - 1, GROUP_TOKENS, GROUP_TOKENS + 1, 2 * GROUP_TOKENS])
def test_no_token_is_lost_or_gained_at_the_edge_of_a_group(length: int) -> None:
    case = Case.random(
        [length, 1], queries=1, block_size=16, kv_heads=1, group=2, head_dim=16, seed=length, max_length=3 * GROUP_TOKENS
    )
    np.testing.assert_allclose(case.paged(), case.dense(), rtol=1e-5, atol=1e-5)


def test_blocks_stored_as_16_bit_integers_give_what_their_bfloat16_values_give() -> None:
    case = Case.random(
        [70, 3], queries=2, block_size=16, kv_heads=2, group=1, head_dim=16, seed=0, max_length=80, dtype="bfloat16"
    )
    assert case.blocks[0].dtype == jnp.uint16
    np.testing.assert_allclose(case.paged(), case.dense(), rtol=1e-5, atol=1e-5)


def test_padding_rows_are_finite_and_leave_the_others_alone() -> None:
    case = Case.random([70, 3], queries=1, block_size=16, kv_heads=2, group=1, head_dim=16, seed=0, max_length=80)
    padded = Case(
        np.concatenate([case.q, np.zeros_like(case.q)]),
        case.k,
        case.v,
        case.blocks,
        np.concatenate([case.table, np.zeros_like(case.table)]),
        np.concatenate([case.positions, np.zeros_like(case.positions)]),
    ).paged()
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[:2], case.dense(), rtol=1e-5, atol=1e-5)
