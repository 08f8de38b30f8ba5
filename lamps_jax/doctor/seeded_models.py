"""Small models and prompts that are the same to the last bit on every machine.

Weights are whole numbers between -127 and 127 times powers of two: exact in every floating-point type, so that a model in bfloat16
has the weights of the one in float32. The numbers are raw output of a counter-based generator, of which NumPy keeps every bit from
version to version, as it does not of its distributions.
"""

import hashlib
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.llama import LlamaConfig
from lamps_jax.models.registry import ARCHITECTURES, LoadedModel
from lamps_jax.models.rope import Rope
from lamps_jax.models.weights import abstract_parameters

VOCAB_SIZE = 256
PROMPT_LENGTHS = (1, 15, 33, 90)

MODELS: Mapping[str, ModelConfig] = {
    "gptj-head-64": GPTJConfig(
        vocab_size=VOCAB_SIZE, hidden_size=128, num_layers=2, num_heads=2, rotary_dim=32, intermediate_size=256, max_position=128
    ),
    "gptj-head-256": GPTJConfig(
        vocab_size=VOCAB_SIZE, hidden_size=512, num_layers=2, num_heads=2, rotary_dim=64, intermediate_size=512, max_position=128
    ),
    "llama-gqa-head-128": LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=256, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=128, intermediate_size=512,
        max_position=128, rope=Rope(dim=128), windows=(None, None),
    ),
}  # fmt: skip
"""The head sizes of the embedded model, of GPT-J-6B and of Vicuna, with grouped heads as in newer models."""

LARGEST = 127
DEVIATION = math.sqrt((LARGEST * (LARGEST + 1)) / 3)
"""Standard deviation of whole numbers drawn evenly from -127 to 127."""


def seeded_integers(name: str, count: int) -> np.ndarray:
    """`count` whole numbers from 0 to 2**32 - 1 that depend on `name` alone."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(count) >> np.uint64(32)


def seeded_parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter called `name` in float32; scaled so that signals neither vanish nor explode from layer to layer."""
    numbers = seeded_integers(name, math.prod(shape)) % np.uint64(2 * LARGEST + 1)
    values = (numbers.astype(np.int64) - LARGEST).astype(np.float32).reshape(shape)
    if len(shape) == 1:
        return values * np.float32(2.0**-9) + np.float32("norm" in name and name.endswith("weight"))
    return values * np.float32(2.0 ** -round(math.log2(DEVIATION * math.sqrt(shape[1]) / 1.5)))


def seeded_model(name: str, *, dtype: str) -> LoadedModel:
    """The model of `MODELS` called `name`, with matrices of `dtype`, on the default device; no token ends its texts."""
    config = MODELS[name]
    build = next(architecture.model for architecture in ARCHITECTURES.values() if architecture.config is type(config))
    graph, abstract = abstract_parameters(lambda: build(config, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    weights = tuple(
        jax.device_put(seeded_parameter(f"{name}/{parameter}", wanted.shape).astype(wanted.dtype))
        for parameter, wanted in abstract.items()
    )
    return LoadedModel(name, graph, tuple(abstract), weights, config, eos_token_ids=())


def prompts() -> list[list[int]]:
    """One prompt for each of `PROMPT_LENGTHS`."""
    return [(seeded_integers(f"prompt {length}", length) % np.uint64(VOCAB_SIZE)).tolist() for length in PROMPT_LENGTHS]


def fingerprint() -> str:
    """A digest of all weights and prompts: equal wherever the models are the same."""
    digest = hashlib.sha256(repr((MODELS, prompts())).encode())
    for name in MODELS:
        model = seeded_model(name, dtype="float32")
        for parameter, weight in zip(model.parameter_names, model.weights, strict=True):
            digest.update(parameter.encode() + np.asarray(weight).astype("<f4").tobytes())
    return digest.hexdigest()
