"""Paged attention gives what dense attention over the same tokens gives, wherever the blocks lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamps_jax.models.attention.xla import GROUP_TOKENS, paged_attention
from tests.models.attention.paged_case import Case
from tests.properties import examples

jitted = jax.jit(paged_attention, static_argnames="window")


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
@settings(max_examples=examples(6))
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
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, GROUP_TOKENS - 1, GROUP_TOKENS, GROUP_TOKENS + 1, 2 * GROUP_TOKENS])
def test_no_token_is_lost_or_gained_at_the_edge_of_a_group(length: int) -> None:
    case = Case.random(
        [length, 1], queries=1, block_size=16, kv_heads=1, group=2, head_dim=16, seed=length, max_length=3 * GROUP_TOKENS
    )
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-5, atol=1e-5)


def test_blocks_stored_as_16_bit_integers_give_what_their_bfloat16_values_give() -> None:
    case = Case.random(
        [70, 3],
        queries=2,
        block_size=16,
        kv_heads=2,
        group=1,
        head_dim=16,
        seed=0,
        max_length=80,
        dtype="bfloat16",
        storage="uint16",
    )
    assert case.blocks[0].dtype == jnp.uint16
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-5, atol=1e-5)


def test_padding_rows_are_finite_and_leave_the_others_alone() -> None:
    case = Case.random([70, 3], queries=1, block_size=16, kv_heads=2, group=1, head_dim=16, seed=0, max_length=80)
    padded = case.padded().paged(jitted)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[:2], case.dense(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [1, 40, GROUP_TOKENS])
def test_window_leaves_out_what_lies_before_it(window: int) -> None:
    case = Case.random([200, 30], queries=3, block_size=16, kv_heads=1, group=2, head_dim=16, seed=window, max_length=200)
    np.testing.assert_allclose(case.paged(jitted, window), case.dense(window), rtol=1e-5, atol=1e-5)
