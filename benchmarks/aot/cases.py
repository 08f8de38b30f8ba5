"""Which programs of which models are compiled, and the shapes of their arguments at real sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding

from benchmarks.shapes import GPTJ_6B, TINYLLAMA, VICUNA_13B
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.jax_executor import layout_of
from lamps_jax.engine.step import Programs, make_programs
from lamps_jax.kv_cache.offload import MAX_BLOCKS_PER_PROGRAM
from lamps_jax.kv_cache.pool import storage_dim
from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.attention.self_test import load_backend
from lamps_jax.models.registry import LoadedModel, abstract_model
from lamps_jax.models.sharding import AXES, BY_HEAD, REPLICATED, check_tensor_parallel

DTYPE = "bfloat16"
BLOCK_SIZE, MAX_MODEL_LEN, MAX_CHUNK_TOKENS, MAX_NUM_SEQS = 16, 2048, 256, 32


@dataclass(frozen=True, slots=True)
class Model:
    """A published model's shape, and a pool of a size that one would run it with.

    Attributes:
        pool_tokens: Tokens whose keys and values the pool holds for each device: more devices have more memory to spare.
    """

    name: str
    config: ModelConfig
    pool_tokens: int


MODELS = {
    model.name: model
    for model in (
        Model("GPT-J-6B", GPTJ_6B, pool_tokens=8192),
        Model("Vicuna-13B", VICUNA_13B, pool_tokens=8192),
        Model("TinyLlama-1.1B", TINYLLAMA, pool_tokens=131_072),
    )
}
"""Models by name: head sizes 256, 128 and 64, the last with grouped key-value heads."""


@dataclass(frozen=True, slots=True)
class Abstract:
    """An engine of which only the shapes exist.

    Attributes:
        pool: Of bfloat16, as accelerators store it.
        place: Gives an array of the host the shape of its copy on every device.
    """

    model: LoadedModel
    config: EngineConfig
    programs: Programs
    pool: Any
    last_tokens: jax.ShapeDtypeStruct
    batches: BatchBuilder
    place: Callable[[np.ndarray], jax.ShapeDtypeStruct]

    @property
    def pool_array(self) -> jax.ShapeDtypeStruct:
        """The keys of the first layer."""
        return self.pool[0][0]

    @property
    def pool_arrays(self) -> list[jax.ShapeDtypeStruct]:
        """All arrays of the pool."""
        return jax.tree.leaves(self.pool)


def abstract_engine(model: Model, devices: Sequence[Any], attention: str) -> Abstract:
    """What `JaxExecutor` puts together of `model` on `devices`, without an array.

    Raises:
        ValueError: If the model cannot be split over so many devices.
    """
    check_tensor_parallel(len(devices), model.config)
    mesh = None
    if len(devices) > 1:
        mesh = Mesh(np.array(devices).reshape(1, -1), AXES, axis_types=(AxisType.Auto, AxisType.Auto))
    loaded, one_device = abstract_model(model.config, dtype=DTYPE, mesh=mesh), SingleDeviceSharding(devices[0])
    if mesh is None:
        loaded = replace(loaded, weights=tuple(_shape(weight.shape, weight.dtype, one_device) for weight in loaded.weights))
    by_head, everywhere = (NamedSharding(mesh, spec) if mesh else one_device for spec in (BY_HEAD, REPLICATED))
    config = EngineConfig(
        SchedulerConfig(max_chunk_tokens=MAX_CHUNK_TOKENS, max_num_seqs=MAX_NUM_SEQS, max_model_len=MAX_MODEL_LEN),
        block_size=BLOCK_SIZE,
        num_blocks=len(devices) * model.pool_tokens // BLOCK_SIZE + 1,
        dtype=DTYPE,
        tensor_parallel=len(devices),
    )
    width = storage_dim(model.config.head_dim, devices[0].platform)
    shape = (config.num_blocks, model.config.num_kv_heads, BLOCK_SIZE, width)
    blocks = _shape(shape, jnp.dtype(DTYPE), by_head)
    return Abstract(
        model=loaded,
        config=config,
        programs=make_programs(
            loaded.graph,
            loaded.parameter_names,
            load_backend(attention),
            block_size=BLOCK_SIZE,
            max_blocks=config.max_blocks_per_request,
            eos_token_ids=loaded.eos_token_ids,
            layout=layout_of(loaded),
        ),
        pool=((blocks, blocks),) * model.config.num_layers,
        last_tokens=_shape((MAX_NUM_SEQS + 1,), jnp.dtype("int32"), everywhere),
        batches=BatchBuilder(config, smallest_decode_batch=1),
        place=lambda array: _shape(array.shape, array.dtype, everywhere),
    )


def _shape(shape: Any, dtype: Any, sharding: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _prefill(engine: Abstract) -> tuple[Any, ...]:
    packed = engine.place(engine.batches.empty_prefill(MAX_CHUNK_TOKENS))
    return engine.model.weights, engine.pool, engine.last_tokens, packed


def _decode(engine: Abstract) -> tuple[Any, ...]:
    return engine.model.weights, engine.pool, engine.last_tokens, engine.place(engine.batches.empty_decode(MAX_NUM_SEQS))


def _block_ids(engine: Abstract) -> jax.ShapeDtypeStruct:
    return engine.place(np.zeros(MAX_BLOCKS_PER_PROGRAM, np.int32))


def _swap_out(engine: Abstract) -> tuple[Any, ...]:
    return engine.pool, _block_ids(engine)


def _swap_in(engine: Abstract) -> tuple[Any, ...]:
    one = engine.pool_array
    block = _shape((len(engine.pool_arrays), *one.shape[1:]), one.dtype, one.sharding)
    return engine.pool, (block,) * MAX_BLOCKS_PER_PROGRAM, _block_ids(engine)


ARGUMENTS: dict[str, Callable[[Abstract], tuple[Any, ...]]] = {
    "prefill": _prefill,
    "decode": _decode,
    "swap_out": _swap_out,
    "swap_in": _swap_in,
}
"""Arguments of each of `Programs`, at the largest shape that the engine compiles."""

PROGRAMS = tuple(Programs.__dataclass_fields__)
"""The engine's programs; each must have its row in `ARGUMENTS`."""
