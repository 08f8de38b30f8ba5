"""The programs of every model family lower for devices that this machine does not have, on one of them and on two.

What a compiler makes of them is seen by ``make aot``; here it is that nothing in them is bound to this machine's platform.
"""

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest
from jax import export
from jax.sharding import AbstractMesh, AxisType, NamedSharding

from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.jax_executor import layout_of
from lamps_jax.engine.step import Programs, make_programs
from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.attention.self_test import load_backend
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
CONFIG = engine_config(block_size=8)
NUM_BLOCKS = 25
PLATFORMS = ("cuda", "tpu")
TRITON = export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")  # JAX does not promise that it stays as it is
KERNEL_CALLS = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}


def arguments(model: LoadedModel, program: str, dtype: str, mesh: AbstractMesh | None) -> tuple[Any, ...]:
    """Shapes of a program's arguments; 16-bit floats are stored as they are, as on every platform but this one."""

    def abstract(shape: tuple[int, ...], kind: Any, spec: Any = REPLICATED) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.dtype(kind), sharding=NamedSharding(mesh, spec) if mesh else None)

    block = (model.config.num_kv_heads, CONFIG.block_size, model.config.head_dim)
    blocks = abstract((NUM_BLOCKS, *block), dtype, BY_HEAD)
    pool, block_ids = ((blocks, blocks),) * model.config.num_layers, abstract((2,), "int32")
    if program == "swap_out":
        return pool, block_ids
    if program == "swap_in":
        return pool, (abstract((2 * model.config.num_layers, *block), dtype, BY_HEAD),) * 2, block_ids
    batches = BatchBuilder(CONFIG, smallest_decode_batch=1)
    packed = batches.empty_prefill(16) if program == "prefill" else batches.empty_decode(2)
    last_tokens = abstract((CONFIG.scheduler.max_num_seqs + 1,), "int32")
    return model.weights, pool, last_tokens, abstract(packed.shape, packed.dtype)


def exported(
    config: ModelConfig, program: str, dtype: str, *, attention: str, platforms: Sequence[str], mesh: AbstractMesh | None = None
) -> export.Exported:
    model = abstract_model(config, dtype=dtype, mesh=mesh)
    programs = make_programs(
        model.graph,
        model.parameter_names,
        load_backend(attention),
        block_size=CONFIG.block_size,
        max_blocks=CONFIG.max_blocks_per_request,
        eos_token_ids=model.eos_token_ids,
        layout=layout_of(model),
    )
    make = export.export(cast(Any, getattr(programs, program)), platforms=platforms, disabled_checks=[TRITON])
    return make(*arguments(model, program, dtype, mesh))


@pytest.mark.parametrize(("dtype", "devices"), [("float32", 1), ("bfloat16", 1), ("bfloat16", 2)])
@pytest.mark.parametrize("program", Programs.__dataclass_fields__)
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] if name in ("llama", "opt") else []) for name in FAMILIES]
)
def test_every_program_exports_for_gpu_and_tpu(
    family: str, program: str, dtype: str, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    mesh, config = TWO_DEVICES if devices == 2 else None, FAMILIES[family]
    there = exported(config, program, dtype, attention="xla", platforms=PLATFORMS, mesh=mesh)
    assert there.platforms == PLATFORMS
    assert there.nr_devices == devices
    blocks = there.out_avals[: 2 if program == "swap_out" else 2 * config.num_layers]
    assert [output.dtype for output in blocks] == [jnp.dtype(dtype)] * len(blocks)
    gathers_logits = devices > 1 and program in ("prefill", "decode")
    assert ("stablehlo.all_gather" in there.mlir_module()) == gathers_logits


@pytest.mark.parametrize(("attention", "platform", "head_dim"), [("pallas_gpu", "cuda", 64), ("pallas_tpu", "tpu", 128)])
@pytest.mark.parametrize(("dtype", "devices"), [("float32", 1), ("bfloat16", 2)])
def test_a_decode_exports_with_the_kernel_of_its_platform(
    devices: int, dtype: str, attention: str, platform: str, head_dim: int
) -> None:
    config = gptj_config(num_heads=2, hidden_size=2 * head_dim, rotary_dim=8)
    there = exported(
        config, "decode", dtype, attention=attention, platforms=[platform], mesh=TWO_DEVICES if devices == 2 else None
    )
    text = there.mlir_module()
    assert text.count("stablehlo.custom_call @" + KERNEL_CALLS[platform]) == 1  # in the function that all layers call
    assert text.count("call @one_block(") == config.num_layers
