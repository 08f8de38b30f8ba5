"""From a Hugging Face directory to a model that the engine can run."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from lamps_jax.models import gptj, llama, opt, orbax_files
from lamps_jax.models.architecture import Architecture, ModelConfig
from lamps_jax.models.sharding import parameter_shardings
from lamps_jax.models.weights import CheckpointError, abstract_parameters, hf_names, load_hf_weights, random_parameters


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to be jitted: its structure, its weights as a flat tuple, and what the engine must know of its shape.

    Attributes:
        weights: One array a name of `parameter_names`, in that order; a flat tuple is what a jitted call dispatches fastest.
        eos_token_ids: Tokens that end a text.
        default_temperature: What the model's makers want where nobody says; 0 is greedy.
    """

    name: str
    graph: nnx.GraphDef
    parameter_names: tuple[str, ...]
    weights: tuple[jax.Array, ...]
    config: ModelConfig
    eos_token_ids: tuple[int, ...]
    default_temperature: float = 1.0

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(weight.nbytes for weight in self.weights)


ARCHITECTURES = {
    "GPTJForCausalLM": gptj.ARCHITECTURE,
    "LlamaForCausalLM": llama.ARCHITECTURE,
    "MistralForCausalLM": llama.ARCHITECTURE,
    "Qwen2ForCausalLM": llama.ARCHITECTURE,
    "Qwen3ForCausalLM": llama.ARCHITECTURE,
    "OPTForCausalLM": opt.ARCHITECTURE,
}
"""Known architectures, by the name under ``architectures`` in ``config.json``."""


DTYPES = ("float32", "bfloat16", "float16")
"""Types that matrices may have."""


def check_dtype(dtype: str) -> None:
    """Raises ValueError if matrices cannot be of type `dtype`."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")


def load_model(
    directory: Path,
    *,
    dtype: str = "float32",
    quantize: str | None = None,
    load_format: str = "auto",
    mesh: Mesh | None = None,
    before_reading: Callable[[int], None] = lambda num_bytes: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LoadedModel:
    """Loads configuration and weights from a Hugging Face directory, or from one that `convert` wrote.

    Args:
        dtype: Of the matrices: float32, bfloat16 or float16.
        quantize: "int8" stores matrices as 8-bit integers with one scale an output; so do weights converted that way.
        load_format: "auto" reads the weights; "dummy" draws random ones.
        mesh: Devices over which weights are sharded; None for the default device.
        before_reading: Called with the bytes that each device will hold; may raise.
        progress: Called with bytes read and bytes in all.

    Raises:
        CheckpointError: If the directory, its configuration or its weights are missing, unreadable or do not fit each other.
        ValueError: If `quantize` or `load_format` is unknown.
    """
    check_dtype(dtype)
    hf_config = read_hf_config(directory)
    architecture, config = _architecture(directory, hf_config)
    converted = orbax_files.is_orbax_directory(directory)
    if converted:
        stored = orbax_files.describe(directory)["quantize"]
        if quantize not in (None, stored):
            raise CheckpointError(f"the weights in {directory} are not quantised; convert them with --quantize {quantize}")
        quantize = stored
    graph, abstract = abstract_parameters(_builder(architecture.model, config, dtype=dtype, quantize=quantize))
    shardings = parameter_shardings(mesh, abstract) if mesh is not None else None
    before_reading(_bytes_per_device(abstract, shardings))
    if load_format == "auto" and converted:
        parameters = orbax_files.restore(directory, abstract, shardings=shardings, progress=progress)
    elif load_format == "auto":
        parameters = load_hf_weights(
            directory,
            abstract,
            hf_names(architecture.names, abstract, config.num_layers),
            ignored=architecture.ignored + (() if "output.weight" in abstract else (architecture.names["output.weight"],)),
            base_prefix=architecture.base_prefix,
            shardings=shardings,
            progress=progress,
        )
    elif load_format == "dummy":
        parameters = random_parameters(abstract, shardings=shardings, progress=progress)
    else:
        raise ValueError(f"load_format must be auto or dummy, got {load_format!r}")
    generation = _generation_config(directory)
    eos = (generation or {}).get("eos_token_id", hf_config.get("eos_token_id"))
    eos_token_ids = tuple(eos) if isinstance(eos, list) else (eos,) if eos is not None else ()
    return LoadedModel(
        name=directory.resolve().name,
        graph=graph,
        parameter_names=tuple(parameters),
        weights=tuple(parameters.values()),
        config=config,
        eos_token_ids=eos_token_ids,
        default_temperature=_default_temperature(generation),
    )


def convert(
    directory: Path,
    out: Path,
    *,
    dtype: str = "auto",
    quantize: str | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Writes the model in the Hugging Face directory `directory` as an Orbax checkpoint with configuration and tokenizer.

    Args:
        out: A directory that does not exist; it appears when it is complete.
        dtype: Of the matrices; "auto" keeps what ``config.json`` says.
        quantize: "int8", or None.
        progress: Called with what is done, bytes done and bytes in all.

    Raises:
        CheckpointError: If the model cannot be read or `out` exists.
        ValueError: If `dtype` or `quantize` is unknown.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists already; remove it, or give a directory that does not exist")
    hf_config = read_hf_config(directory)
    if dtype == "auto":
        dtype = str(hf_config.get("dtype") or hf_config.get("torch_dtype") or "float32")
    check_dtype(dtype)
    model = load_model(
        directory, dtype=dtype, quantize=quantize, progress=lambda done, total: progress("loading weights", done, total)
    )
    parameters = dict(zip(model.parameter_names, model.weights, strict=True))
    orbax_files.save(
        directory,
        out,
        parameters,
        dtype=dtype,
        quantize=quantize,
        progress=lambda done, total: progress("writing weights", done, total),
    )


def random_model(
    config: ModelConfig,
    *,
    dtype: str = "float32",
    quantize: str | None = None,
    mesh: Mesh | None = None,
    seed: int = 0,
    eos_token_ids: tuple[int, ...] = (0,),
) -> LoadedModel:
    """A model of the given shape with random weights: for benchmarks and tests."""
    graph, abstract = _abstract(config, dtype=dtype, quantize=quantize)
    parameters = random_parameters(abstract, seed=seed, shardings=parameter_shardings(mesh, abstract) if mesh else None)
    return LoadedModel("random", graph, tuple(parameters), tuple(parameters.values()), config, eos_token_ids)


def abstract_model(
    config: ModelConfig,
    *,
    dtype: str = "float32",
    quantize: str | None = None,
    mesh: Mesh | AbstractMesh | None = None,
    eos_token_ids: tuple[int, ...] = (0,),
) -> LoadedModel:
    """A model of the given shape without weights: in their place stand `jax.ShapeDtypeStruct`, sharded as weights would be.

    It is for what compiles programs and never runs them; any size takes no memory.
    """
    graph, abstract = _abstract(config, dtype=dtype, quantize=quantize)
    if mesh is not None:
        shardings = parameter_shardings(mesh, abstract)
        abstract = {
            name: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=shardings[name]) for name, value in abstract.items()
        }
    weights = cast(tuple[jax.Array, ...], tuple(abstract.values()))
    return LoadedModel("abstract", graph, tuple(abstract), weights, config, eos_token_ids)


def _bytes_per_device(abstract: Mapping[str, jax.ShapeDtypeStruct], shardings: Mapping[str, NamedSharding] | None) -> int:
    shapes = {name: shardings[name].shard_shape(value.shape) if shardings else value.shape for name, value in abstract.items()}
    return sum(math.prod(shapes[name]) * value.dtype.itemsize for name, value in abstract.items())


def _abstract(config: ModelConfig, *, dtype: str, quantize: str | None) -> tuple[nnx.GraphDef, dict[str, jax.ShapeDtypeStruct]]:
    model = next(architecture.model for architecture in ARCHITECTURES.values() if architecture.config is type(config))
    return abstract_parameters(_builder(model, config, dtype=dtype, quantize=quantize))


def _builder(
    model: Callable[..., nnx.Module], config: ModelConfig, *, dtype: str, quantize: str | None
) -> Callable[[], nnx.Module]:
    return lambda: model(config, dtype=jnp.dtype(dtype), quantize=quantize, rngs=nnx.Rngs(0))


def _generation_config(directory: Path) -> dict[str, Any] | None:
    """What ``generation_config.json`` holds; None where there is none."""
    path = directory / "generation_config.json"
    if not path.exists():
        return None
    try:
        generation = json.loads(path.read_text(encoding="utf-8"))
        float(generation.get("temperature") or 1.0)
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return generation


def _default_temperature(generation: dict[str, Any] | None) -> float:
    """In transformers' reading of ``generation_config.json``; 1 where there is none, as in the OpenAI API."""
    if generation is None:
        return 1.0
    return float(generation.get("temperature") or 1.0) if generation.get("do_sample") else 0.0


def read_model_config(directory: Path) -> ModelConfig:
    """The shape of the model in `directory`.

    Raises:
        CheckpointError: If there is none, or it is none that is known.
    """
    return _architecture(directory, read_hf_config(directory))[1]


def read_hf_config(directory: Path) -> dict[str, Any]:
    """The contents of ``config.json``.

    Raises:
        CheckpointError: If there is no directory, no such file in it, or no JSON object in the file.
    """
    if not directory.is_dir():
        raise CheckpointError(f"model directory {directory} does not exist; give 'embedded' or a Hugging Face directory")
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{directory} has no config.json; a Hugging Face model directory has one") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return config


def _architecture(directory: Path, hf_config: dict[str, Any]) -> tuple[Architecture, ModelConfig]:
    names = hf_config.get("architectures") or ["none"]
    names = [names] if isinstance(names, str) else names
    if names[0] not in ARCHITECTURES:
        raise CheckpointError(f"{directory} is a {names[0]}; known architectures are {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[names[0]]
    try:
        return architecture, architecture.config.from_hf(hf_config)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{directory / 'config.json'}: {error}") from error
