"""The programs lower for devices that this machine does not have."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest
from jax import export

from lamps_jax.kv_cache.pool import allocate, gather_blocks, scatter_blocks
from lamps_jax.models.registry import random_model
from tests.factories import ProgramRunner, engine_config, gptj_config


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_programs_that_compute_export_for_gpu_and_tpu(phase: str, dtype: str, platform: str) -> None:
    config = engine_config(dtype=dtype)
    runner = ProgramRunner(random_model(gptj_config(), dtype=dtype), config)
    empty = runner.batches.empty_prefill if phase == "prefill" else runner.batches.empty_decode
    # The storage of other devices: 16-bit floats stay as they are.
    pool = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, jnp.dtype(dtype)), runner.pool)
    program = cast(Any, getattr(runner.programs, phase))
    exported = export.export(program, platforms=[platform])(runner.model.weights, pool, runner.last_tokens, empty(2))
    assert exported.platforms == (platform,)
    assert [output.dtype for output in exported.out_avals[: len(jax.tree.leaves(pool))]] == [jnp.dtype(dtype)] * len(
        jax.tree.leaves(pool)
    )


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_programs_that_swap_export_for_gpu_and_tpu(dtype: str, platform: str) -> None:
    pool = jax.eval_shape(lambda: allocate(2, 8, 2, 4, 8, dtype=dtype))
    pool = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, jnp.dtype(dtype)), pool)
    ids = jax.ShapeDtypeStruct((2,), jnp.int32)
    gather = export.export(jax.jit(gather_blocks), platforms=[platform])(pool, ids)
    assert [block.shape for block in gather.out_avals] == [(4, 2, 4, 8)] * 2
    blocks = tuple(jax.ShapeDtypeStruct(block.shape, block.dtype) for block in gather.out_avals)
    scatter = export.export(jax.jit(scatter_blocks, donate_argnums=0), platforms=[platform])(pool, blocks, ids)
    assert [array.dtype for array in scatter.out_avals] == [jnp.dtype(dtype)] * 4
