"""Tensors are read in pieces, and no matter how they are cut, the whole is what numpy and JAX make of the whole."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamps_jax.models import stored_tensor
from lamps_jax.models.layers import quantize_int8
from lamps_jax.models.stored_tensor import CheckpointError, StoredTensor, aligned_empty, read_cast, read_int8
from tests.properties import examples

HEADER = b"header"
FLOATS = ["float64", "float32", "float16", "bfloat16"]


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_tensor, "PIECE_BYTES", 64)


def store(directory: Path, values: np.ndarray, *, gathered: bool = False) -> StoredTensor:
    path = directory / "tensor"
    path.write_bytes(HEADER + values.tobytes())
    gather = partial(np.copy, values) if gathered else None
    return StoredTensor(path, values.dtype.name, values.dtype, values.shape, len(HEADER), gather)


def random_values(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(jnp.dtype(dtype))


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), shape=st.lists(st.integers(0, 9), max_size=3), gathered=st.booleans())
def test_any_box_of_any_tensor_is_that_part_of_it(
    data: st.DataObject, shape: list[int], gathered: bool, tmp_path: Path, executor: Executor
) -> None:
    values = random_values(tuple(shape), data.draw(st.sampled_from(FLOATS)))
    bounds = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    box = tuple(slice(*pair) for pair in bounds)
    dtype = jnp.dtype(data.draw(st.sampled_from(FLOATS[1:])))
    part = read_cast(store(tmp_path, values, gathered=gathered), dtype, box, executor)
    assert part.dtype == dtype
    np.testing.assert_array_equal(part, values[box].astype(dtype))


@pytest.mark.parametrize("source", FLOATS[1:])
@pytest.mark.parametrize("target", FLOATS[1:])
def test_types_are_cast_as_jax_casts_them(source: str, target: str, tmp_path: Path, executor: Executor) -> None:
    values = (10.0 ** np.random.default_rng(0).uniform(-9, 4.5, (40, 7))).astype(jnp.dtype(source))
    part = read_cast(store(tmp_path, values), target, (slice(0, 40), slice(0, 7)), executor)
    np.testing.assert_array_equal(part, jnp.asarray(values).astype(target))


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_are_quantised_as_the_layers_quantise_them(dtype: str, tmp_path: Path, executor: Executor) -> None:
    values = random_values((50, 24), dtype)
    values[3] = 0
    weight, scale = read_int8(store(tmp_path, values), slice(2, 45), executor)
    expected_weight, expected_scale = map(np.asarray, quantize_int8(jnp.asarray(values[2:45].astype(np.float32))))
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6, atol=1e-37)  # the atol for the row of zeros
    exact = values[2:45].astype(np.float64) / scale[:, None]
    tied = np.abs(np.abs(exact % 1) - 0.5) < 1e-4  # where a last bit of the scale decides between two integers
    np.testing.assert_array_equal(np.where(tied, 0, weight), np.where(tied, 0, expected_weight))
    assert weight.dtype == np.int8 and np.abs(weight).max() == 127
    assert np.abs(weight * scale[:, None] - values[2:45].astype(np.float32)).max() <= 0.5001 * scale.max()


def test_only_the_pieces_of_the_box_are_read(tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    values, read = random_values((100, 8), "float32"), []
    original = stored_tensor.read_bytes

    def counting(path: Path, start: int, into: np.ndarray) -> None:
        read.append((start - len(HEADER), len(into)))
        original(path, start, into)

    monkeypatch.setattr(stored_tensor, "read_bytes", counting)
    part = read_cast(store(tmp_path, values), "float32", (slice(10, 20), slice(0, 4)), executor)
    np.testing.assert_array_equal(part, values[10:20, :4])
    assert sum(size for _, size in read) == 10 * 32
    assert min(start for start, _ in read) == 10 * 32
    assert max(size for _, size in read) == 64


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_file_that_ends_too_early_is_named(dtype: str, tmp_path: Path, executor: Executor) -> None:
    tensor = store(tmp_path, random_values((10, 4), "float32"))
    tensor.path.write_bytes(tensor.path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=rf"cannot read {tensor.path}: it ends .* bytes before .*; is the file complete\?"):
        read_cast(tensor, dtype, (slice(0, 10), slice(0, 4)), executor)


def test_file_that_is_gone_is_named(tmp_path: Path, executor: Executor) -> None:
    tensor = store(tmp_path, random_values((10, 4), "float32"))
    tensor.path.unlink()
    with pytest.raises(CheckpointError, match=rf"cannot read {tensor.path}: .*No such file"):
        read_int8(tensor, slice(0, 10), executor)


def test_memory_begins_where_the_cpu_device_takes_it_without_a_copy() -> None:
    arrays = [aligned_empty((7, size), "bfloat16") for size in range(1, 20)]
    assert all(array.ctypes.data % 64 == 0 for array in arrays)
