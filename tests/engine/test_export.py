"""The programs of every model family lower for devices that this machine does not have, on one of them and on two.

What a compiler makes of them is seen by ``make aot``; here it is that nothing in them is bound to this machine's platform.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest
from jax import export
from jax.sharding import AbstractMesh, AxisType, NamedSharding

from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.jax_executor import layout_of
from lamps_jax.engine.step import make_programs
from lamps_jax.kv_cache.pool import allocate, gather_blocks, scatter_blocks
from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.attention import xla
from lamps_jax.models.llama import LlamaConfig
from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.registry import LoadedModel, abstract_model
from lamps_jax.models.rope import Rope
from lamps_jax.models.sharding import AXES, BY_HEAD, REPLICATED
from tests.factories import engine_config, gptj_config

SHAPE: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 48}
ROPE: dict[str, Any] = {"head_dim": 8, "max_position": 128, "rope": Rope(8), "windows": (None, 8)}
FAMILIES: dict[str, ModelConfig] = {
    "gptj": gptj_config(),
    "llama": LlamaConfig(**SHAPE, **ROPE, num_kv_heads=4),
    "llama with grouped heads": LlamaConfig(**SHAPE, **ROPE, num_kv_heads=2),
    "opt": OPTConfig(**SHAPE, max_position=128, embedding_size=32),
}
TWO_DEVICES = AbstractMesh((1, 2), AXES, axis_types=(AxisType.Auto, AxisType.Auto))
CONFIG = engine_config()
NUM_BLOCKS = 25
PLATFORMS = ("cuda", "tpu")


def arguments(model: LoadedModel, program: str, dtype: str, mesh: AbstractMesh | None) -> tuple[Any, ...]:
    """Shapes of a program's arguments; 16-bit floats are stored as they are, as on every platform but this one."""

    def abstract(shape: tuple[int, ...], kind: Any, spec: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.dtype(kind), sharding=NamedSharding(mesh, spec) if mesh else None)

    batches = BatchBuilder(CONFIG, smallest_decode_batch=1)
    packed = batches.empty_prefill(16) if program == "prefill" else batches.empty_decode(2)
    blocks = abstract((NUM_BLOCKS, model.config.num_kv_heads, CONFIG.block_size, model.config.head_dim), dtype, BY_HEAD)
    last_tokens = abstract((CONFIG.scheduler.max_num_seqs + 1,), "int32", REPLICATED)
    pool = ((blocks, blocks),) * model.config.num_layers
    return model.weights, pool, last_tokens, abstract(packed.shape, packed.dtype, REPLICATED)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("program", ["prefill", "decode"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_program_exports_for_gpu_and_tpu(family: str, program: str, dtype: str, devices: int) -> None:
    mesh = TWO_DEVICES if devices == 2 else None
    model = abstract_model(FAMILIES[family], dtype=dtype, mesh=mesh)
    programs = make_programs(
        model.graph,
        model.parameter_names,
        xla.paged_attention,
        block_size=CONFIG.block_size,
        max_blocks=CONFIG.max_blocks_per_request,
        eos_token_ids=model.eos_token_ids,
        layout=layout_of(model),
    )
    exported = export.export(cast(Any, getattr(programs, program)), platforms=PLATFORMS)(*arguments(model, program, dtype, mesh))
    assert exported.platforms == PLATFORMS
    assert exported.nr_devices == devices
    assert [output.dtype for output in exported.out_avals[: 2 * model.config.num_layers]] == [jnp.dtype(dtype)] * 4
    assert exported.mlir_module().count("stablehlo.all_gather") == devices - 1


@pytest.mark.parametrize("platform", PLATFORMS)
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
