"""The length classifier: an OPT body, and a linear head over the bins on what it makes of the last token.

Source: LAMPS (2025), appendix C.1; names of a checkpoint as in transformers' ``OPTForSequenceClassification``.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int
from safetensors.numpy import save_file

from lamps_jax.models.attention.reference import attend_within
from lamps_jax.models.layers import Linear, normal_initializer
from lamps_jax.models.opt import HF_NAMES, OPT, OPTConfig
from lamps_jax.models.registry import read_hf_config
from lamps_jax.models.weights import (
    CheckpointError,
    Parameters,
    abstract_parameters,
    hf_names,
    initial_parameters,
    load_hf_weights,
)
from lamps_jax.train_predictor.lengths import Bins

ARCHITECTURE = "OPTForSequenceClassification"
BODIES = (ARCHITECTURE, "OPTForCausalLM", "OPTModel")
"""Architectures whose body a classifier can begin with."""

HEAD = "head.weight"
CLASSIFIER_NAMES = {f"body.{ours}": theirs for ours, theirs in HF_NAMES.items()} | {HEAD: "score.weight"}


class LengthClassifier(nnx.Module):
    """Scores of the bins for a text's next output; parameters are what they are, `dtype` is what matrices are multiplied in."""

    def __init__(self, config: OPTConfig, num_bins: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.body = OPT(replace(config, tied=True), dtype=dtype, rngs=rngs)
        self.head = Linear(config.embedding_size, num_bins, bias=False, dtype=jnp.float32, rngs=rngs)

    def __call__(self, token_ids: Int[Array, "batch length"], valid: Bool[Array, "batch length"]) -> Float[Array, "batch bins"]:
        """Scores (logits) from the last valid token of each row; padding may stand before or behind the text.

        Every row needs a valid token.
        """
        length = token_ids.shape[1]
        positions = jnp.maximum(jnp.cumsum(valid, axis=1, dtype=jnp.int32) - 1, 0)
        mask = jnp.tril(jnp.ones((length, length), bool)) & valid[:, None, :]
        hidden, _ = self.body(token_ids, positions, (None,) * self.body.config.num_layers, attend_within(mask))
        last = jnp.where(valid, jnp.arange(length), -1).argmax(axis=1)
        return self.head(hidden[jnp.arange(len(hidden)), last])


class LoraLinear(Linear):
    """A linear map beside which a product of two thin matrices learns: ``y = W x + b + (alpha / rank) B A dropout(x)``.

    Its weight and bias keep their names; the rest are `lora_a`, `lora_b` and, data of a random key, `dropout_key`.

    Source: Hu et al., 2021, LoRA; A is drawn, B begins at zero.
    """

    def __init__(self, replaced: Linear, *, rank: int, alpha: float, dropout: float, dtype: DTypeLike, rngs: nnx.Rngs):
        outputs, inputs = replaced.weight.shape
        super().__init__(inputs, outputs, bias=replaced.bias is not None, dtype=dtype, rngs=rngs)
        self.lora_a = nnx.Param(normal_initializer(rngs.params(), (rank, inputs), jnp.float32))
        self.lora_b = nnx.Param(jnp.zeros((outputs, rank), jnp.float32))
        self.dropout_key = nnx.Param(jax.random.key_data(jax.random.key(0)))
        self.factor, self.dropout = alpha / rank, dropout

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        y = super().__call__(x)
        if self.dropout:
            kept = jax.random.bernoulli(jax.random.wrap_key_data(self.dropout_key[...]), 1.0 - self.dropout, x.shape)
            x = jnp.where(kept, x / (1.0 - self.dropout), 0.0)
        low = x.astype(self.dtype) @ self.lora_a[...].T.astype(self.dtype)
        return y + self.factor * (low @ self.lora_b[...].T.astype(self.dtype)).astype(jnp.float32)


LORA_LAYERS = ("q_proj", "v_proj")
"""The layers that get one: queries and values, as PEFT chooses for OPT."""


def with_lora(
    classifier: LengthClassifier, *, rank: int, alpha: float, dropout: float, dtype: DTypeLike, rngs: nnx.Rngs
) -> LengthClassifier:
    """The classifier with a `LoraLinear` in the place of every query and value projection."""
    for block in classifier.body.blocks:
        for name in LORA_LAYERS:
            replaced = getattr(block, name)
            setattr(block, name, LoraLinear(replaced, rank=rank, alpha=alpha, dropout=dropout, dtype=dtype, rngs=rngs))
    return classifier


def is_trained_by_lora(name: str) -> bool:
    """Whether a parameter learns where most do not."""
    return name == HEAD or name.endswith((".lora_a", ".lora_b"))


def is_dropout_key(name: str) -> bool:
    """Whether a parameter is the data of a random key, new in every step."""
    return name.endswith(".dropout_key")


def merged(parameters: Mapping[str, jax.Array], *, factor: float) -> Parameters:
    """The parameters of the plain classifier that computes what one with LoRA does without dropout.

    Args:
        factor: alpha / rank.
    """
    plain: Parameters = {}
    for name, value in parameters.items():
        if name.endswith((".lora_a", ".lora_b")) or is_dropout_key(name):
            continue
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_a" in parameters:
            value = value + factor * (parameters[f"{layer}.lora_b"] @ parameters[f"{layer}.lora_a"])
        plain[name] = value
    return plain


def read_opt_config(directory: Path) -> OPTConfig:
    """The shape of the OPT in a Hugging Face directory.

    Raises:
        CheckpointError: If there is none, or it is of another architecture.
    """
    hf_config = read_hf_config(directory)
    architectures = hf_config.get("architectures") or ["none"]
    if architectures[0] not in BODIES:
        raise CheckpointError(f"{directory} is a {architectures[0]}; a length predictor begins with {', '.join(BODIES)}")
    try:
        return OPTConfig.from_hf(hf_config)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{directory / 'config.json'}: {error}") from error


def begin(config: OPTConfig, num_bins: int, *, seed: int, body_from: Path | None = None) -> Parameters:
    """Parameters to begin training with: random ones, or a body from a Hugging Face directory and a random head.

    Raises:
        CheckpointError: If the directory's weights do not fit `config`.
    """
    _, parameters = initial_parameters(lambda: LengthClassifier(config, num_bins, rngs=nnx.Rngs(seed)))
    if body_from is not None:
        parameters |= _load(body_from, {name: value for name, value in parameters.items() if name != HEAD}, config)
    return parameters


def load_classifier(directory: Path, config: OPTConfig, num_bins: int) -> Parameters:
    """The parameters of the classifier in a directory that `save_classifier` or transformers wrote.

    Raises:
        CheckpointError: If they are damaged or of another shape.
    """
    _, abstract = abstract_parameters(lambda: LengthClassifier(config, num_bins, rngs=nnx.Rngs(0)))
    return _load(directory, abstract, config)


def _load(directory: Path, wanted: Mapping[str, Any], config: OPTConfig) -> Parameters:
    abstract = {name: jax.ShapeDtypeStruct(value.shape, jnp.dtype(jnp.float32)) for name, value in wanted.items()}
    ignored = ("lm_head.weight", *(() if HEAD in wanted else ("score.weight",)))
    names = hf_names(CLASSIFIER_NAMES, abstract, config.num_layers)
    return load_hf_weights(directory, abstract, names, ignored=ignored, base_prefix="model.")


def save_classifier(directory: Path, config: OPTConfig, bins: Bins, parameters: Parameters, *, dtype: DTypeLike) -> None:
    """Writes ``config.json`` and ``model.safetensors`` into `directory`, as transformers would for its own class."""
    directory.mkdir(parents=True, exist_ok=True)
    names = hf_names(CLASSIFIER_NAMES, parameters, config.num_layers)
    tensors = {names[name]: np.asarray(value.astype(dtype)) for name, value in parameters.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    described = config.to_hf(dtype=jnp.dtype(dtype).name) | {
        "architectures": [ARCHITECTURE],
        "id2label": {str(label): f"{label * bins.width_tokens}+" for label in range(bins.count)},
        "label2id": {f"{label * bins.width_tokens}+": label for label in range(bins.count)},
    }
    (directory / "config.json").write_text(json.dumps(described, indent=2) + "\n")
