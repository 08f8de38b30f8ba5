"""Parameters by name: out of a model, back into one, and between files and memory."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Sharding
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lamps_jax.models import gptj

Model = TypeVar("Model", bound=nnx.Module)
Parameters = dict[str, jax.Array]
"""Arrays by dotted name, such as ``blocks.0.q_proj.weight``."""


class CheckpointError(ValueError):
    """Raised when a checkpoint cannot be read as the model that its configuration describes."""


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
    """The parameters of shapes `abstract` from the safetensors files in `directory`, one tensor at a time.

    Args:
        names: Each parameter's name in the checkpoint.
        ignored: Ends of names of tensors that may be surplus.
        progress: Called with tensors read and tensors in all.

    Raises:
        CheckpointError: If a file cannot be read, or tensors are missing, surplus or of another shape; all of them are named.
    """
    shards = _shards(directory)
    ours = {theirs: name for name, theirs in names.items()}
    parameters: Parameters = {}
    surplus, misshapen = [], []
    for shard in shards:
        try:
            with safe_open(shard, framework="flax") as tensors:
                for theirs in tensors.keys():  # noqa: SIM118  (an open file is no mapping)
                    name = ours.get(theirs)
                    if name is None:
                        surplus += [theirs] if not theirs.endswith(ignored) else []
                        continue
                    wanted, shape = abstract[name], tuple(tensors.get_slice(theirs).get_shape())
                    if shape != wanted.shape:
                        misshapen.append(f"{theirs} is {list(shape)}, not {list(wanted.shape)}")
                        continue
                    parameters[name] = tensors.get_tensor(theirs).astype(wanted.dtype)
                    progress(len(parameters), len(abstract))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"cannot read {shard}: {error}; is the file complete?") from error
    missing = [names[name] for name in abstract if name not in parameters and not any(names[name] in text for text in misshapen)]
    problems = [
        f"{what}: {', '.join(sorted(which))}"
        for what, which in (("missing", missing), ("not part of this model", surplus), ("of another shape", misshapen))
        if which
    ]
    if problems:
        raise CheckpointError(f"the weights in {directory} do not fit its configuration; {'; '.join(problems)}")
    return {name: parameters[name] for name in abstract}


def random_parameters(
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    *,
    seed: int = 0,
    shardings: Mapping[str, Sharding] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parameters:
    """Random parameters of shapes `abstract`: matrices normal with deviation 0.02, norms one, biases zero."""
    keys = jax.random.split(jax.random.key(seed), len(abstract))
    return {name: _random(key, name, value) for key, (name, value) in zip(keys, abstract.items(), strict=True)}


def _random(key: jax.Array, name: str, wanted: jax.ShapeDtypeStruct) -> jax.Array:
    if wanted.ndim == 2:
        return (0.02 * jax.random.normal(key, wanted.shape)).astype(wanted.dtype)
    return (jnp.ones if name.endswith("weight") else jnp.zeros)(wanted.shape, wanted.dtype)


def _shards(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = [directory / file for file in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"cannot read {index}: {error}") from error
    else:
        shards = [directory / "model.safetensors"]
    if absent := [str(shard) for shard in shards if not shard.exists()]:
        raise CheckpointError(f"weights not found: {', '.join(absent)}; lamps-jax reads safetensors files")
    return shards


def hf_names(table: Mapping[str, str], parameters: Collection[str], num_layers: int) -> dict[str, str]:
    """The name in a checkpoint of each of `parameters` that has one, from a table whose ``{layer}`` stands for every number."""
    names: dict[str, str] = {}
    for ours, theirs in table.items():
        layers = range(num_layers) if "{layer}" in ours else (0,)
        names |= {ours.format(layer=layer): theirs.format(layer=layer) for layer in layers}
    return {ours: theirs for ours, theirs in names.items() if ours in parameters}


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
