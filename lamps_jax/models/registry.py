"""From a Hugging Face directory to a model that the engine can run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lamps_jax.models.gptj import GPTJ, HF_BUFFERS, HF_NAMES, GPTJConfig
from lamps_jax.models.weights import CheckpointError, abstract_parameters, hf_names, initial_parameters, load_hf_weights


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
    config: GPTJConfig
    eos_token_ids: tuple[int, ...]
    default_temperature: float = 1.0

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(weight.nbytes for weight in self.weights)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture of the Hugging Face world is read."""

    model: type[GPTJ]
    config: type[GPTJConfig]
    names: dict[str, str]
    ignored: tuple[str, ...]


ARCHITECTURES = {"GPTJForCausalLM": Architecture(GPTJ, GPTJConfig, HF_NAMES, HF_BUFFERS)}
"""Known architectures, by the name under ``architectures`` in ``config.json``."""


def load_model(
    directory: Path, *, dtype: str = "float32", progress: Callable[[int, int], None] = lambda done, total: None
) -> LoadedModel:
    """Loads configuration and weights from a Hugging Face directory.

    Raises:
        CheckpointError: If the directory, its configuration or its weights are missing, unreadable or do not fit each other.
    """
    hf_config = read_hf_config(directory)
    architecture, config = _architecture(directory, hf_config)
    graph, abstract = abstract_parameters(lambda: architecture.model(config, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    names = hf_names(architecture.names, config.num_layers)
    parameters = load_hf_weights(directory, abstract, names, ignored=architecture.ignored, progress=progress)
    eos = hf_config.get("eos_token_id")
    eos_token_ids = tuple(eos) if isinstance(eos, list) else (eos,) if eos is not None else ()
    return LoadedModel(
        name=directory.resolve().name,
        graph=graph,
        parameter_names=tuple(parameters),
        weights=tuple(parameters.values()),
        config=config,
        eos_token_ids=eos_token_ids,
        default_temperature=_default_temperature(directory),
    )


def random_model(
    config: GPTJConfig, *, dtype: str = "float32", seed: int = 0, eos_token_ids: tuple[int, ...] = (0,)
) -> LoadedModel:
    """A model of the given shape with random weights: for benchmarks and tests."""
    graph, parameters = initial_parameters(nnx.jit(lambda: GPTJ(config, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(seed))))
    return LoadedModel("random", graph, tuple(parameters), tuple(parameters.values()), config, eos_token_ids)


def _default_temperature(directory: Path) -> float:
    """What ``generation_config.json`` says, in transformers' reading of it; 1 where there is none, as in the OpenAI API."""
    path = directory / "generation_config.json"
    if not path.exists():
        return 1.0
    try:
        generation = json.loads(path.read_text(encoding="utf-8"))
        return float(generation.get("temperature") or 1.0) if generation.get("do_sample") else 0.0
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


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


def _architecture(directory: Path, hf_config: dict[str, Any]) -> tuple[Architecture, GPTJConfig]:
    names = hf_config.get("architectures") or ["none"]
    names = [names] if isinstance(names, str) else names
    if names[0] not in ARCHITECTURES:
        raise CheckpointError(f"{directory} is a {names[0]}; known architectures are {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[names[0]]
    try:
        return architecture, architecture.config.from_hf(hf_config)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{directory / 'config.json'}: {error}") from error
