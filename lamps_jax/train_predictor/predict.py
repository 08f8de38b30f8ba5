"""A trained predictor: texts in, distributions of output lengths out.

Its directory is a Hugging Face directory of an ``OPTForSequenceClassification`` with its tokenizer, and ``predictor.json``, which
says what the bins are and how texts are cut.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError, Parameters, abstract_parameters, bind
from lamps_jax.train_predictor.batches import pad
from lamps_jax.train_predictor.data import Side
from lamps_jax.train_predictor.lengths import Bins
from lamps_jax.train_predictor.model import LengthClassifier, load_classifier, read_opt_config, save_classifier

DESCRIPTION = "predictor.json"
FORMAT = 1

BATCH_SIZES = (1, 8, 32)
"""Texts that are computed at once: few sizes, so that there are few programs."""

SHORTEST = 32
"""Tokens of the shortest padded text; the others are twice as long, and twice again."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a predictor's directory says beside its weights.

    Attributes:
        max_length: Longest text in tokens.
        cut: Where longer ones lose tokens.

    Raises:
        ValueError: If a number is not whole or less than 1, or there is no such side.
    """

    bin_width_tokens: int
    num_bins: int
    max_length: int
    cut: Side = "left"

    def __post_init__(self) -> None:
        for name in ("bin_width_tokens", "num_bins", "max_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}")
        if self.cut not in get_args(Side):
            raise ValueError(f"cut must be 'left' or 'right', got {self.cut!r}")

    @property
    def bins(self) -> Bins:
        """The classes."""
        return Bins(self.bin_width_tokens, self.num_bins)


class LengthPredictor:
    """Predicts how many tokens will follow a text. Not to be shared between threads while it is called.

    Args:
        tokenizer: Of the texts; None if only tokens will come.
    """

    def __init__(self, config: OPTConfig, parameters: Parameters, description: Description, tokenizer: Tokenizer | None = None):
        self.description, self.tokenizer = description, tokenizer
        self._config, self._parameters = config, parameters
        graph, _ = abstract_parameters(lambda: LengthClassifier(config, description.num_bins, rngs=nnx.Rngs(0)))

        def probabilities(parameters: Parameters, token_ids: jax.Array, valid: jax.Array) -> jax.Array:
            return jax.nn.softmax(bind(graph, parameters)(token_ids, valid))

        self._run = jax.jit(probabilities)

    @classmethod
    def from_directory(cls, directory: Path) -> "LengthPredictor":
        """Reads a predictor.

        Raises:
            CheckpointError: If there is none, or its files are damaged or do not fit each other.
        """
        description = _read_description(directory)
        config = read_opt_config(directory)
        if description.max_length > config.max_position:
            raise CheckpointError(
                f"{directory / DESCRIPTION} has texts of {description.max_length} tokens, the model reads {config.max_position}"
            )
        parameters = load_classifier(directory, config, description.num_bins)
        return cls(config, parameters, description, Tokenizer.from_directory(directory))

    @property
    def bins(self) -> Bins:
        """The classes."""
        return self.description.bins

    def save(self, directory: Path, *, dtype: Any = jnp.float32) -> None:
        """Writes it so that `from_directory` and transformers read it.

        Raises:
            ValueError: If it has no tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError("a predictor is saved with its tokenizer, and this one has none")
        save_classifier(directory, self._config, self.bins, self._parameters, dtype=dtype)
        self.tokenizer.hf.save_pretrained(directory)
        description = {"format": FORMAT, **asdict(self.description)}
        (directory / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")

    def probabilities(self, rows: Sequence[Sequence[int] | Int[np.ndarray, " length"]]) -> Float[np.ndarray, "n bins"]:
        """The distribution over the bins for each row of tokens; long rows are cut as they were in training.

        Rows are computed in batches of similar length, of one of `BATCH_SIZES`; a shape of batch is compiled when it first comes.

        Raises:
            ValueError: If a row is empty.
        """
        limit, cut = self.description.max_length, self.description.cut
        if any(not len(row) for row in rows):
            raise ValueError("an empty text predicts nothing; give at least one token")
        short = [np.asarray(row[-limit:] if cut == "left" else row[:limit], np.int32) for row in rows]
        result = np.zeros((len(short), self.bins.count), np.float32)
        order = sorted(range(len(short)), key=lambda place: len(short[place]))
        for start in range(0, len(order), BATCH_SIZES[-1]):
            places = order[start : start + BATCH_SIZES[-1]]
            chosen = [short[place] for place in places]
            size = next(size for size in BATCH_SIZES if size >= len(chosen))
            shape = (size, min(_padded_length(len(chosen[-1])), limit))
            result[places] = np.asarray(self._run(self._parameters, *pad(chosen, shape, "right")))[: len(chosen)]
        return result

    def warm_up(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compiles all that `probabilities` will need."""
        lengths, most = [SHORTEST], self.description.max_length
        while lengths[-1] < most:
            lengths.append(2 * lengths[-1])
        shapes = [(size, min(length, most)) for size in BATCH_SIZES for length in lengths]
        for done, (size, length) in enumerate(shapes):
            progress(done, len(shapes))
            self.probabilities([[0] * length] * size)
        progress(len(shapes), len(shapes))


def _padded_length(length: int) -> int:
    return max(SHORTEST, 1 << (length - 1).bit_length())


def _read_description(directory: Path) -> Description:
    path = directory / DESCRIPTION
    if not path.is_file():
        raise CheckpointError(
            f"{directory} holds no length predictor: it has no {DESCRIPTION}; train one with 'lamps-jax train-predictor'"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("its format is not known; a newer lamps-jax may have written it")
        description = Description(**content)
        _ = description.bins
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return description
