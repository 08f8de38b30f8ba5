"""The TPU kernel, interpreted, gives what dense attention gives; and it lowers for TPU at the shapes of real models."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.pallas_tpu import MAX_COPIES, paged_attention
from tests.models.attention.paged_case import Case

interpreted = jax.jit(partial(paged_attention, interpret=True), static_argnames="window")


@pytest.mark.parametrize(
    ("head_dim", "dtype", "kv_heads", "group", "window"),
    [
        (128, "bfloat16", 3, 1, None),
        (256, "float32", 2, 1, 9),
        pytest.param(128, "float32", 1, 4, 20, marks=pytest.mark.slow),
        pytest.param(128, "bfloat16", 2, 3, None, marks=pytest.mark.slow),
        pytest.param(256, "bfloat16", 2, 1, None, marks=pytest.mark.slow),
        pytest.param(256, "float32", 5, 2, 1, marks=pytest.mark.slow),
    ],
)
def test_decode_equals_dense_attention(head_dim: int, dtype: str, kv_heads: int, group: int, window: int | None) -> None:
    case = Case.random(
        [75, 1, 16],
        queries=1,
        block_size=16,
        kv_heads=kv_heads,
        group=group,
        head_dim=head_dim,
        seed=0,
        max_length=80,
        dtype=dtype,
    )
    np.testing.assert_allclose(case.paged(interpreted, window), case.dense(window), rtol=2e-5, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 8 * MAX_COPIES + 12])
def test_context_of_more_blocks_than_are_on_their_way_at_a_time_is_read_whole(window: int | None) -> None:
    lengths = [8 * (MAX_COPIES + 5), 8 * MAX_COPIES, 8 * (MAX_COPIES - 1) + 1]
    case = Case.random(lengths, queries=1, block_size=8, kv_heads=1, group=1, head_dim=128, seed=1, max_length=max(lengths))
    np.testing.assert_allclose(case.paged(interpreted, window), case.dense(window), rtol=2e-5, atol=2e-5)


def test_padding_rows_are_finite_and_leave_the_others_alone() -> None:
    case = Case.random([40, 3], queries=1, block_size=16, kv_heads=2, group=1, head_dim=128, seed=2, max_length=48)
    padded = case.padded().paged(interpreted)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[:2], case.dense(), rtol=2e-5, atol=2e-5)


def test_chunk_after_a_cached_prefix_sees_the_prefix_and_itself() -> None:
    case = Case.random([60], queries=20, block_size=16, kv_heads=1, group=2, head_dim=128, seed=3, max_length=64)
    np.testing.assert_allclose(case.paged(interpreted, 30), case.dense(30), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("head_dim", "block_size", "dtype", "max_blocks", "what"),
    [
        (64, 16, "float32", 4, "multiples of 128, got 64"),
        (128, 4, "float32", 4, "multiples of 8, got 4"),
        (128, 16, "float16", 4, "bfloat16 or float32, got float16"),
        (128, 4096, "float32", 4, "up to 1048576 bytes, got 2097152"),
        (128, 16, "float32", 70_000, "up to 131072 entries in scalar memory, got 140000"),
    ],
)
def test_what_the_kernel_does_not_serve_is_refused(
    head_dim: int, block_size: int, dtype: str, max_blocks: int, what: str
) -> None:
    blocks = jnp.zeros((2, 1, block_size, head_dim), dtype)
    table, positions = jnp.zeros((2, max_blocks), int), jnp.zeros((2, 1), int)
    with pytest.raises(Unsupported, match=what):
        paged_attention(jnp.zeros((2, 1, 1, head_dim)), (blocks, blocks), table, positions)


@pytest.mark.parametrize(("heads", "head_dim"), [(16, 256), (40, 128)], ids=["gpt-j", "vicuna-13b"])
def test_kernel_exports_for_tpu(heads: int, head_dim: int) -> None:
    blocks = jax.ShapeDtypeStruct((512, heads, 16, head_dim), jnp.bfloat16)
    exported = export.export(jax.jit(paged_attention), platforms=["tpu"])(
        jax.ShapeDtypeStruct((4, 1, heads, head_dim), jnp.float32),
        (blocks, blocks),
        jax.ShapeDtypeStruct((4, 128), jnp.int32),
        jax.ShapeDtypeStruct((4, 1), jnp.int32),
    )
    assert exported.platforms == ("tpu",)
    assert "tpu_custom_call" in exported.mlir_module()
