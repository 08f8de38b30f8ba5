"""What every architecture offers: a configuration read from ``config.json``, a model, and the names of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flax import nnx


class ModelConfig(Protocol):
    """What the engine must know of a model's shape; each architecture adds its own fields."""

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding: ids below it may be fed and sampled."""
        ...

    @property
    def hidden_size(self) -> int:
        """Features of a token between two blocks."""
        ...

    @property
    def num_layers(self) -> int:
        """Blocks."""
        ...

    @property
    def num_heads(self) -> int:
        """Heads of the queries."""
        ...

    @property
    def num_kv_heads(self) -> int:
        """Heads whose keys and values are cached; it divides `num_heads`."""
        ...

    @property
    def head_dim(self) -> int:
        """Dimensions of one head."""
        ...

    @property
    def max_position(self) -> int:
        """Most tokens of one text."""
        ...

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Reads the keys of a Hugging Face ``config.json``.

        Raises:
            ValueError: If a key is missing, or names a variant that is not supported.
        """
        ...


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one architecture of the Hugging Face world is read.

    Attributes:
        model: Built as ``model(config, dtype=…, quantize=…, rngs=…)``.
        names: Our parameter names to those in a checkpoint, ``{layer}`` standing for every layer's number; rows for
            parameters that a configuration does not have are skipped.
        ignored: Ends of the names of tensors that may be surplus: buffers that hold no weights.
        base_prefix: What the names begin with that some checkpoints leave out, such as ``model.``.
    """

    model: type[nnx.Module]
    config: type[ModelConfig]
    names: Mapping[str, str]
    ignored: tuple[str, ...]
    base_prefix: str = ""


def required(config: Mapping[str, Any], key: str) -> int:
    """The whole number under `key` of a ``config.json``.

    Raises:
        ValueError: If there is none.
    """
    if config.get(key) is None:
        raise ValueError(f"the configuration lacks the key {key!r}")
    return int(config[key])
