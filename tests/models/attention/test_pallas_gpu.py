"""The GPU kernels, interpreted, give what dense attention gives; and they lower for CUDA at the shapes of real models."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from jax import export

from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.pallas_gpu import paged_attention
from tests.models.attention.paged_case import Case

TOLERANCES = {"float32": 2e-5, "bfloat16": 1.5e-2}


def interpreted(splits: int | None = None) -> Callable[..., jax.Array]:
    return jax.jit(partial(paged_attention, splits=splits, interpret=True), static_argnames="window")


@pytest.mark.parametrize(
    ("head_dim", "dtype", "window", "splits"),
    [
        (64, "bfloat16", None, 1),
        (256, "bfloat16", None, 3),
        pytest.param(128, "float32", 7, 1, marks=pytest.mark.slow),
        pytest.param(80, "float32", 20, 2, marks=pytest.mark.slow),
    ],
)
def test_decode_with_a_key_head_for_each_head_streams_in_float32(
    head_dim: int, dtype: str, window: int | None, splits: int
) -> None:
    case = Case.random(
        [75, 1, 16], queries=1, block_size=16, kv_heads=2, group=1, head_dim=head_dim, seed=head_dim, max_length=80, dtype=dtype
    )
    rounding = {"float32": 2e-5, "bfloat16": 2.0**-8}[dtype]  # only what is stored is rounded
    np.testing.assert_allclose(case.paged(interpreted(splits), window), case.dense(window), rtol=rounding, atol=2e-5)


@pytest.mark.parametrize(
    ("head_dim", "dtype", "group", "window", "splits"),
    [
        (128, "float32", 4, 9, 2),
        pytest.param(64, "bfloat16", 3, None, 1, marks=pytest.mark.slow),
        pytest.param(256, "bfloat16", 8, None, 3, marks=pytest.mark.slow),
    ],
)
def test_decode_with_shared_key_heads_reads_each_block_once_for_all(
    head_dim: int, dtype: str, group: int, window: int | None, splits: int
) -> None:
    case = Case.random(
        [75, 1, 33], queries=1, block_size=32, kv_heads=2, group=group, head_dim=head_dim, seed=1, max_length=96, dtype=dtype
    )
    np.testing.assert_allclose(case.paged(interpreted(splits), window), case.dense(window), atol=TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("head_dim", "dtype", "group", "window"),
    [
        (256, "bfloat16", 1, 9),
        pytest.param(64, "bfloat16", 1, None, marks=pytest.mark.slow),
        pytest.param(128, "float32", 2, None, marks=pytest.mark.slow),
        pytest.param(96, "float32", 3, 30, marks=pytest.mark.slow),
    ],
)
def test_chunk_after_a_cached_prefix_sees_the_prefix_and_itself(
    head_dim: int, dtype: str, group: int, window: int | None
) -> None:
    case = Case.random(
        [100], queries=70, block_size=16, kv_heads=1, group=group, head_dim=head_dim, seed=2, max_length=112, dtype=dtype
    )
    np.testing.assert_allclose(case.paged(interpreted(), window), case.dense(window), atol=TOLERANCES[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 33])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("head_dim", [128, pytest.param(64, marks=pytest.mark.long), pytest.param(256, marks=pytest.mark.long)])
@pytest.mark.parametrize(("queries", "group", "splits"), [(1, 1, 1), (1, 1, 4), (1, 4, 4), (40, 2, None)])
def test_every_combination_equals_dense_attention(
    queries: int, group: int, splits: int | None, head_dim: int, dtype: str, window: int | None
) -> None:
    case = Case.random(
        [90, 45], queries=queries, block_size=16, kv_heads=2, group=group, head_dim=head_dim, seed=3, max_length=96, dtype=dtype
    )
    np.testing.assert_allclose(case.paged(interpreted(splits), window), case.dense(window), atol=TOLERANCES[dtype])


@pytest.mark.parametrize(("group", "splits"), [(1, 2), (2, 1)])
def test_padding_rows_are_finite_and_leave_the_others_alone(group: int, splits: int) -> None:
    case = Case.random([40, 3], queries=1, block_size=16, kv_heads=1, group=group, head_dim=64, seed=4, max_length=48)
    padded = case.padded().paged(interpreted(splits))
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[:2], case.dense(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("queries", "group"), [(1, 1), (5, 2)])
def test_places_that_hold_no_number_are_never_seen(queries: int, group: int) -> None:
    case = Case.random(
        [40, 19], queries=queries, block_size=16, kv_heads=1, group=group, head_dim=64, seed=5, max_length=48, garbage=np.nan
    )
    np.testing.assert_allclose(case.paged(interpreted()), case.dense(), rtol=2e-5, atol=2e-5)


def grid(batch: int, kv_heads: int, max_blocks: int, queries: int = 1) -> tuple[int, ...]:
    blocks = jax.ShapeDtypeStruct((8, kv_heads, 16, 128), jnp.bfloat16)
    shapes = (
        jax.ShapeDtypeStruct((batch, queries, kv_heads, 128), jnp.float32),
        (blocks, blocks),
        jax.ShapeDtypeStruct((batch, max_blocks), jnp.int32),
        jax.ShapeDtypeStruct((batch, queries), jnp.int32),
    )
    [call] = [e for e in jax.make_jaxpr(paged_attention)(*shapes).eqns if e.primitive.name == "pallas_call"]
    return call.params["grid_mapping"].grid


def test_context_is_split_only_where_rows_and_heads_cannot_fill_the_chip() -> None:
    assert grid(64, 40, 128) == (64, 40, 1)
    assert grid(2, 16, 128) == (2, 16, 20)
    assert grid(1, 1, 16) == (1, 1, 4)  # parts of 64 tokens at least
    assert grid(1, 16, 128, queries=256) == (1, 16, 4)


@pytest.mark.parametrize(
    ("head_dim", "dtype", "what"), [(512, "float32", "head sizes up to 256, got 512"), (64, "uint16", "floats, got uint16")]
)
def test_shape_or_type_that_the_kernels_do_not_serve_is_refused(head_dim: int, dtype: str, what: str) -> None:
    blocks = jnp.zeros((2, 1, 16, head_dim), dtype)
    with pytest.raises(Unsupported, match=what):
        paged_attention(jnp.zeros((1, 1, 1, head_dim)), (blocks, blocks), jnp.zeros((1, 1), int), jnp.zeros((1, 1), int))


@pytest.mark.skipif(
    jaxlib.version.__version_info__ > (0, 10, 2) and find_spec("jax_cuda12_plugin") is None,
    reason="later than 0.10.2, JAX compiles Triton while lowering, with the CUDA plugin",
)
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.parametrize("queries", [1, 256])
@pytest.mark.parametrize(("heads", "head_dim"), [(16, 256), (40, 128)], ids=["gpt-j", "vicuna-13b"])
def test_kernels_export_for_cuda(heads: int, head_dim: int, queries: int) -> None:
    blocks = jax.ShapeDtypeStruct((512, heads, 16, head_dim), jnp.bfloat16)
    exported = export.export(
        jax.jit(paged_attention),
        platforms=["cuda"],
        disabled_checks=[
            export.DisabledSafetyCheck.custom_call(name) for name in ("__gpu$xla.gpu.triton", "triton_kernel_call_ffi")
        ],
    )(
        jax.ShapeDtypeStruct((4, queries, heads, head_dim), jnp.float32),
        (blocks, blocks),
        jax.ShapeDtypeStruct((4, 128), jnp.int32),
        jax.ShapeDtypeStruct((4, queries), jnp.int32),
    )
    assert exported.platforms == ("cuda",)
    assert "triton" in exported.mlir_module()
