"""How weights and KV blocks lie on a mesh of devices, and how a model computes there: tensor parallelism.

The programs of `engine.step` run inside `jax.shard_map`: each device executes the model's own code on the weights and heads that
it holds, and the collectives stand here, in three places:

- a layer split by its input (`BY_INPUT`) gives each device a part of a sum, which an all-reduce adds up; layers whose outputs are
  added anyway share one all-reduce (`sum_of`);
- the embedding is split by tokens: the device that holds a token looks it up, the others give zeros, and an all-reduce adds them;
- the logits are gathered, once, for the tokens that are sampled.

Source: Shoeybi et al., 2019, Megatron-LM, section 3.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.layers import Embedding, Linear

AXES = ("data", "model")
"""Axes of every mesh here; ``data`` has the size 1."""

REPLICATED = PartitionSpec()
"""The same on every device."""

BY_HEAD = PartitionSpec(None, "model")
"""Of KV blocks `[block, head, slot, dim]`: each device holds some heads of every block."""

BY_OUTPUT = ("q_proj", "k_proj", "v_proj", "fc_in", "gate_proj", "up_proj", "output", "embedding")
"""Layers split by the rows of their weight, so that each device holds some of the outputs (for the embedding, of the tokens)."""

BY_INPUT = ("out_proj", "fc_out", "down_proj")
"""Layers split by the columns of their weight: each device adds up a part, and the sum needs an all-reduce."""


def check_tensor_parallel(size: int, config: ModelConfig) -> None:
    """Raises ValueError if the heads of a model of the shape `config` cannot be divided by `size`."""
    if config.num_kv_heads % size:
        sizes = ", ".join(str(valid) for valid in range(1, config.num_kv_heads + 1) if config.num_kv_heads % valid == 0)
        heads = "heads" if config.num_heads == config.num_kv_heads else "key-value heads"
        raise ValueError(
            f"tensor_parallel must divide the model's {config.num_kv_heads} {heads}, got {size}; valid sizes for it are {sizes}"
        )


def tensor_parallel_mesh(size: int, config: ModelConfig) -> Mesh | None:
    """A mesh of `size` devices, as many of each process, for a model of the shape `config`; None for the one device by default.

    Raises:
        ValueError: If the model's heads cannot be divided by `size`, or there are not as many devices, or several processes do
            not have equal shares of them.
    """
    check_tensor_parallel(size, config)
    count, processes = jax.device_count(), jax.process_count()
    if size > count:
        raise ValueError(
            f"tensor_parallel is {size}, but there {'is' if count == 1 else 'are'} only {count} {jax.default_backend()} "
            f"device{'' if count == 1 else 's'}; lower it, or run on more"
        )
    if size == processes == 1:
        return None
    share = size // processes
    devices = [device for process in range(processes) for device in jax.local_devices(process)[:share]]
    if len(devices) != size:
        raise ValueError(
            f"tensor_parallel must be a multiple of the {processes} processes that run together, got {size}; "
            f"with all their devices it is {count}"
        )
    return jax.make_mesh((1, size), AXES, axis_types=(AxisType.Auto, AxisType.Auto), devices=devices)


def parameter_shardings(mesh: Mesh | AbstractMesh, abstract: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, NamedSharding]:
    """Where each parameter lies on `mesh`; one whose split axis the mesh does not divide lies whole on every device."""
    return {name: NamedSharding(mesh, _spec(mesh, name, value.shape)) for name, value in abstract.items()}


def _spec(mesh: Mesh | AbstractMesh, name: str, shape: tuple[int, ...]) -> PartitionSpec:
    *_, layer, parameter = name.split(".")
    if layer in BY_OUTPUT and shape[0] % mesh.shape["model"] == 0:
        return PartitionSpec("model")
    if layer in BY_INPUT and parameter == "weight" and shape[1] % mesh.shape["model"] == 0:
        return PartitionSpec(None, "model")
    return REPLICATED


def bytes_per_device(arrays: Iterable[jax.Array]) -> int:
    """Bytes of `arrays` that each device holds."""
    return sum(math.prod(array.sharding.shard_shape(array.shape)) * array.dtype.itemsize for array in arrays)


def join_shards(model: nnx.Module, specs: Mapping[str, PartitionSpec]) -> None:
    """Makes `model`, bound to what one device holds of its parameters, compute together with the other devices.

    To be called where the model is traced, inside `jax.shard_map` over a mesh of `AXES`.

    Args:
        specs: How each parameter is split, by name.
    """
    for name, spec in specs.items():
        *path, layer, parameter = name.split(".")
        if parameter != "weight" or "model" not in spec:
            continue
        owner: Any = model
        for part in path:
            owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
        if layer in BY_INPUT:
            setattr(owner, layer, _SplitByInput(getattr(owner, layer)))
        elif layer == "embedding":
            setattr(owner, layer, _SplitEmbedding(getattr(owner, layer)))


class _SplitByInput(nnx.Module):
    """A linear map of which each device has some inputs."""

    def __init__(self, whole: Linear):
        self.part, self.bias = whole, whole.bias
        whole.bias = None  # it is added once, not by every device

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        return sum_of((self, x))


class _SplitEmbedding(Embedding):
    """An embedding of which each device has some tokens."""

    def __init__(self, whole: Embedding):
        self.weight = whole.weight

    def __call__(self, ids: Int[Array, "*batch"]) -> Float[Array, "*batch features"]:
        weight = self.weight[...]
        rows = ids - lax.axis_index("model") * weight.shape[0]
        here = (rows >= 0) & (rows < weight.shape[0])
        found = weight[jnp.where(here, rows, 0)].astype(jnp.float32)
        return lax.psum(jnp.where(here[..., None], found, 0.0), "model")


def sum_of(*terms: tuple[nnx.Module, Float[Array, "*batch in"]]) -> Float[Array, "*batch out"]:
    """The sum of each layer's output for its input; where devices hold parts of the layers, one all-reduce adds them all up."""
    split = [(layer, x) for layer, x in terms if isinstance(layer, _SplitByInput)]
    outputs = [layer(x) for layer, x in terms if not isinstance(layer, _SplitByInput)]  # pyright: ignore[reportCallIssue]
    if split:
        outputs.append(lax.psum(_added([layer.part(x) for layer, x in split]), "model"))
        outputs += [layer.bias[...].astype(jnp.float32) for layer, _ in split if layer.bias is not None]
    return _added(outputs)


def _added(values: list[Array]) -> Array:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def whole_logits(logits: Float[Array, "batch part"], vocab_size: int) -> Float[Array, "batch vocab"]:
    """Scores of all tokens, from those that this device has computed; the same ones if it has all."""
    return logits if logits.shape[-1] == vocab_size else lax.all_gather(logits, "model", axis=-1, tiled=True)
