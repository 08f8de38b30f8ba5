"""The pool keeps what is written where it is written, bit by bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.kv_cache.pool import allocate, block_bytes, decode, encode, storage_dim, storage_dtype, write


@pytest.fixture
def on_cpu() -> None:
    if jax.default_backend() != "cpu":
        pytest.skip("16-bit floats are stored as integers on a CPU only")


def test_pool_has_a_pair_of_zeroed_arrays_for_each_layer() -> None:
    pool = allocate(3, 5, 2, 4, 8, dtype="float32")
    assert [[array.shape for array in layer] for layer in pool] == [[(5, 2, 4, 8)] * 2] * 3
    assert not any(np.asarray(array).any() for layer in pool for array in layer)


@pytest.mark.parametrize(("dtype", "item_bytes"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_block_bytes_count_keys_and_values_of_all_layers(dtype: str, item_bytes: int) -> None:
    assert block_bytes(allocate(3, 5, 2, 4, 8, dtype=dtype)) == 3 * 2 * (2 * 4 * 8) * item_bytes


@pytest.mark.usefixtures("on_cpu")
def test_bfloat16_is_stored_as_integers_on_a_cpu_and_other_types_as_themselves() -> None:
    assert storage_dtype("bfloat16") == jnp.uint16
    assert storage_dtype("float32") == jnp.float32
    assert storage_dtype("float16") == jnp.float16


def test_every_bfloat16_survives_its_storage_bit_by_bit() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    values = jax.lax.bitcast_convert_type(jnp.asarray(bits), jnp.bfloat16)
    np.testing.assert_array_equal(encode(values, jnp.uint16), bits)
    number = ~np.isnan(np.asarray(values, np.float32))  # a float32 has more than one bfloat16's NaN
    back = decode(jnp.asarray(bits))
    assert back.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(back).view(np.uint32)[number], bits[number].astype(np.uint32) << 16)
    np.testing.assert_array_equal(encode(back, jnp.uint16)[number], bits[number])


def test_float32_is_rounded_to_the_nearest_bfloat16() -> None:
    import torch

    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(decode(encode(jnp.asarray(values), jnp.uint16)), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_write_changes_the_named_slots_only(dtype: str) -> None:
    rng = np.random.default_rng(0)
    blocks = tuple(encode(jnp.asarray(rng.standard_normal((6, 2, 4, 8)), jnp.float32), storage_dtype(dtype)) for _ in range(2))
    k, v = rng.integers(-8, 8, (2, 3, 2, 8)).astype(np.float32)  # small integers are the same in every type
    expected = [np.array(decode(array)) for array in blocks]
    for token, (block, slot) in enumerate([(5, 3), (1, 0), (5, 0)]):
        expected[0][block, :, slot], expected[1][block, :, slot] = k[token], v[token]
    written = write(blocks, jnp.asarray(k), jnp.asarray(v), jnp.array([5, 1, 5]), jnp.array([3, 0, 0]))
    for array, wanted in zip(written, expected, strict=True):
        assert array.dtype == storage_dtype(dtype)
        np.testing.assert_array_equal(decode(array), wanted)


@pytest.mark.parametrize(("head_dim", "stored"), [(16, 128), (64, 128), (128, 128), (192, 256), (256, 256)])
def test_on_a_tpu_vectors_fill_whole_rows_of_lanes_and_elsewhere_nothing_is_added(head_dim: int, stored: int) -> None:
    assert storage_dim(head_dim, "tpu") == stored
    assert storage_dim(head_dim, "gpu") == storage_dim(head_dim, "cpu") == head_dim
