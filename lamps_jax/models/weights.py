"""Parameters by name: out of a model, back into one, and between files and memory."""

import json
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Sharding
from jax.typing import DTypeLike
from safetensors.numpy import save_file

from lamps_jax.models import gptj
from lamps_jax.models.checkpoint import read_checkpoint
from lamps_jax.models.stored_tensor import CheckpointError, StoredTensor, read_cast, read_int8

Model = TypeVar("Model", bound=nnx.Module)
Parameters = dict[str, jax.Array]
"""Arrays by dotted name, such as ``blocks.0.q_proj.weight``."""


IN_FLIGHT_BYTES = 256 * 2**20
"""Bytes that may be on their way from memory to devices while the next tensor is read."""

LISTED_NAMES = 20
"""Names of one kind of problem that an error lists."""

DEVIATION = 0.02
"""Standard deviation of random matrices."""

INT8_DEVIATION = 32.0
"""That of random 8-bit integers: 127 is nearly four of it."""


def abstract_parameters(build: Callable[[], nnx.Module]) -> tuple[nnx.GraphDef, dict[str, jax.ShapeDtypeStruct]]:
    """The structure of the model that `build` makes, and the shapes of its parameters, without allocating any."""
    graph, state = nnx.split(nnx.eval_shape(build))
    return graph, {_dotted(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def initial_parameters(build: Callable[[], nnx.Module]) -> tuple[nnx.GraphDef, Parameters]:
    """The structure of the model that `build` makes, and its freshly initialised parameters."""
    graph, state = nnx.split(build())
    return graph, {_dotted(path): variable[...] for path, variable in nnx.to_flat_state(state)}


def bind(graph: nnx.GraphDef, parameters: Mapping[str, Any]) -> Any:
    """The model of structure `graph` with `parameters`; cheap inside a traced function, where it belongs."""
    flat = [
        (tuple(int(part) if part.isdigit() else part for part in name.split(".")), nnx.Param(value))
        for name, value in parameters.items()
    ]
    return nnx.merge(graph, nnx.from_flat_state(flat))


def save_hf_directory(directory: Path, config: gptj.GPTJConfig, parameters: Parameters, *, dtype: DTypeLike) -> None:
    """Writes ``config.json`` and ``model.safetensors`` of a GPT-J into `directory`, as transformers would."""
    directory.mkdir(parents=True, exist_ok=True)
    names = hf_names(gptj.HF_NAMES, parameters, config.num_layers)
    tensors = {names[name]: np.asarray(value.astype(dtype)) for name, value in parameters.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config.to_hf(dtype=jnp.dtype(dtype).name), indent=2) + "\n")


def load_hf_weights(
    directory: Path,
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    names: Mapping[str, str],
    *,
    ignored: tuple[str, ...] = (),
    base_prefix: str = "",
    shardings: Mapping[str, Sharding] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parameters:
    """The parameters of shapes `abstract` from the checkpoint in `directory`, each cast and put into its place on its own.

    An int8 ``<layer>.weight`` with a ``<layer>.scale`` beside it is quantised out of the checkpoint's weight. Beside what has
    arrived at its device, memory holds one tensor as the model wants it, `IN_FLIGHT_BYTES` of earlier ones, and a few pieces.

    Args:
        names: Each parameter's name in the checkpoint; a quantised layer's scale has none.
        ignored: Ends of names of tensors that may be surplus.
        base_prefix: What the checkpoint's names may lack at the beginning.
        shardings: Where each parameter goes, of which this process reads its own part; None for the default device.
        progress: Called with the checkpoint's bytes read and in all.

    Raises:
        CheckpointError: If a file cannot be read, or tensors are missing, surplus, of another shape or not of floating point;
            all of them are named before any is read.
    """
    tensors = _matching(directory, abstract, names, ignored=ignored, base_prefix=base_prefix)
    done, total = 0, sum(tensor.nbytes for tensor in tensors.values())
    parameters: Parameters = {}
    in_flight: deque[jax.Array] = deque()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as executor:
        for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].path, item[1].start)):
            while sum(array.nbytes for array in in_flight) > IN_FLIGHT_BYTES:
                in_flight.popleft().block_until_ready()
            loaded = _load(name, tensor, abstract, shardings, executor)
            parameters |= loaded
            in_flight.extend(loaded.values())
            done += tensor.nbytes
            progress(done, total)
    return {name: parameters[name] for name in abstract}


def _matching(
    directory: Path,
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    names: Mapping[str, str],
    *,
    ignored: tuple[str, ...],
    base_prefix: str,
) -> dict[str, StoredTensor]:
    """The tensor of each parameter that is read from the checkpoint.

    Raises:
        CheckpointError: If they do not match; all that do not are named.
    """
    stored = read_checkpoint(directory)
    scales = {scale for name in abstract if (scale := _scale_of(name, abstract))}
    tensors: dict[str, StoredTensor] = {}
    missing, misshapen, not_float = [], [], []
    surplus = {theirs for theirs in stored if not theirs.endswith(ignored)}
    for name in abstract:
        if name in scales:
            continue
        theirs = names[name] if names[name] in stored else names[name].removeprefix(base_prefix)
        surplus.discard(theirs)
        if (tensor := stored.get(theirs)) is None:
            missing.append(names[name])
        elif tensor.shape != abstract[name].shape:
            misshapen.append(f"{theirs} is {list(tensor.shape)}, not {list(abstract[name].shape)}")
        elif tensor.dtype is None:
            not_float.append(f"{theirs} is {tensor.type_name}")
        else:
            tensors[name] = tensor
    problems = [
        f"{what}: {_listing(which)}"
        for what, which in (
            ("missing", missing),
            ("not part of this model", surplus),
            ("of another shape", misshapen),
            ("not of floating point", not_float),
        )
        if which
    ]
    if problems:
        raise CheckpointError(f"the weights in {directory} do not fit its configuration; {'; '.join(problems)}")
    return tensors


def _listing(names: Collection[str]) -> str:
    shown = sorted(names)[:LISTED_NAMES]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _scale_of(name: str, abstract: Mapping[str, jax.ShapeDtypeStruct]) -> str | None:
    """The scale of the parameter `name` if it is a quantised weight."""
    scale = name.removesuffix("weight") + "scale"
    return scale if name.endswith(".weight") and abstract[name].dtype == jnp.int8 and scale in abstract else None


def _load(
    name: str,
    tensor: StoredTensor,
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    shardings: Mapping[str, Sharding] | None,
    executor: Executor,
) -> Parameters:
    """A parameter, and its scale if it is quantised, out of a stored tensor."""
    sharding = shardings[name] if shardings is not None else None
    box = _own_part(tensor.shape, sharding)
    scale_name = _scale_of(name, abstract)
    if scale_name is None:
        part = read_cast(tensor, abstract[name].dtype, box, executor)
        return {name: _placed(part, tensor.shape, box, sharding)}
    scale_sharding = shardings[scale_name] if shardings is not None else None
    (scale_rows,) = _own_part(tensor.shape[:1], scale_sharding)
    rows = slice(min(box[0].start, scale_rows.start), max(box[0].stop, scale_rows.stop))
    weight, scale = read_int8(tensor, rows, executor)
    return {
        name: _placed(weight, tensor.shape, (rows, *_whole(tensor.shape[1:])), sharding),
        scale_name: _placed(scale, tensor.shape[:1], (rows,), scale_sharding),
    }


def _whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in shape)


def _own_part(shape: tuple[int, ...], sharding: Sharding | None) -> tuple[slice, ...]:
    """The smallest box around the parts of an array that lie on this process's devices."""
    if sharding is None:
        return _whole(shape)
    parts = [_bounded(index, shape) for index in sharding.addressable_devices_indices_map(shape).values()]
    return tuple(slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*parts, strict=True))


def _bounded(index: Sequence[slice] | None, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """`index` into an array of shape `shape` with every bound said."""
    return tuple(slice(*side.indices(size)) for side, size in zip(index or (), shape, strict=True))


def _placed(part: np.ndarray, shape: tuple[int, ...], box: tuple[slice, ...], sharding: Sharding | None) -> jax.Array:
    """An array of shape `shape` on its devices, out of its part `box`, which nobody may write to any more."""
    if sharding is None:
        return jax.device_put(part)

    def on_device(index: Sequence[slice] | None) -> np.ndarray:
        wanted = zip(_bounded(index, shape), box, strict=True)
        return part[tuple(slice(side.start - own.start, side.stop - own.start) for side, own in wanted)]

    return jax.make_array_from_callback(shape, sharding, on_device)


def random_parameters(
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    *,
    seed: int = 0,
    shardings: Mapping[str, Sharding] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parameters:
    """Random parameters of shapes `abstract`: matrices normal with deviation 0.02, norms one, biases zero.

    They are drawn on their devices, one after another, and the same from the same seed wherever they lie.

    Args:
        shardings: Where each parameter goes; None for the default device.
        progress: Called with bytes drawn and in all.
    """
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), len(abstract))))
    sizes = {name: wanted.size * wanted.dtype.itemsize for name, wanted in abstract.items()}
    parameters: Parameters = {}
    done, total = 0, sum(sizes.values())
    for key, (name, wanted) in zip(keys, abstract.items(), strict=True):
        sharding = shardings[name] if shardings is not None else None
        constant = _constant(name, abstract)
        if constant is None:  # compiled once for all parameters that are alike
            parameter = jax.jit(_draw, static_argnums=(0, 1), out_shardings=sharding)(wanted.shape, wanted.dtype, key)
        else:
            parameter = jax.device_put(np.full(wanted.shape, constant, wanted.dtype), sharding)
        parameters[name] = parameter.block_until_ready()
        done += sizes[name]
        progress(done, total)
    return parameters


def _constant(name: str, abstract: Mapping[str, jax.ShapeDtypeStruct]) -> float | None:
    """What each entry of the parameter `name` is if they are all equal."""
    if abstract[name].ndim > 1:
        return None
    layer, _, parameter = name.rpartition(".")
    if f"{layer}.weight" in abstract and _scale_of(f"{layer}.weight", abstract) == name:
        return DEVIATION / INT8_DEVIATION
    return float(parameter == "weight")


def _draw(shape: tuple[int, ...], dtype: DTypeLike, key_data: jax.Array) -> jax.Array:
    normal = jax.random.normal(jax.random.wrap_key_data(key_data), shape)
    if dtype == jnp.int8:
        return jnp.clip(jnp.round(INT8_DEVIATION * normal), -127, 127).astype(dtype)
    return (DEVIATION * normal).astype(dtype)


def hf_names(table: Mapping[str, str], parameters: Collection[str], num_layers: int) -> dict[str, str]:
    """The name in a checkpoint of each of `parameters` that has one, from a table whose ``{layer}`` stands for every number."""
    names: dict[str, str] = {}
    for ours, theirs in table.items():
        layers = range(num_layers) if "{layer}" in ours else (0,)
        names |= {ours.format(layer=layer): theirs.format(layer=layer) for layer in layers}
    return {ours: theirs for ours, theirs in names.items() if ours in parameters}


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
