"""What a training run of the length predictor is made of, as a TOML file says it."""

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lamps_jax.train_predictor.data import Side
from lamps_jax.train_predictor.lengths import Bins


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where examples come from. The default values are the paper's where it has them.

    Attributes:
        train: Files of conversations, in any format that is known; relative to the TOML file.
        test: Files to judge by; empty: a share of the conversations in `train`.
        test_share: That share.
        validation_share: Share of what is left that decides when to stop.
        tokenizer: Directory of the model that is served, whose tokens lengths are counted in where a record has text alone;
            None for the predictor's own.
        max_length: Longest text that the predictor reads, in tokens.
        cut: Where longer ones lose tokens: "left" keeps their end, "right", as the paper, their beginning.
        padding: "right", and the last token is picked out, or "left" as in the paper; the results are the same.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    test_share: float = 0.2
    validation_share: float = 0.1
    tokenizer: Path | None = None
    max_length: int = 2048
    cut: Side = "left"
    padding: Side = "right"
    seed: int = 42

    def __post_init__(self) -> None:
        _check(bool(self.train), "train", "at least one file", "none")
        _check(0 < self.test_share < 1, "test_share", "between 0 and 1", self.test_share)
        _check(0 < self.validation_share < 1, "validation_share", "between 0 and 1", self.validation_share)
        _check(self.max_length >= 1, "max_length", "at least 1", self.max_length)
        _check(self.seed >= 0, "seed", "0 or more", self.seed)


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """What is trained. The default values are the paper's.

    Attributes:
        base: A Hugging Face directory of an OPT to begin with; None: random weights of the shape that follows.
        tokenizer: Directory of the tokenizer; None for that in `base`.
        bin_width_tokens: Width of a bin.
        num_bins: Bins; the last takes all that is longer.
        lora_rank: Rank of the matrices beside queries and values that learn while the body stays; 0: everything learns.
    """

    base: Path | None = None
    tokenizer: Path | None = None
    hidden_size: int = 128
    num_layers: int = 2
    num_heads: int = 4
    bin_width_tokens: int = 10
    num_bins: int = 50
    lora_rank: int = 0
    lora_alpha: float = 64.0
    lora_dropout: float = 0.1

    def __post_init__(self) -> None:
        _check(self.base is not None or self.tokenizer is not None, "tokenizer", "a directory where there is no base", None)
        for name in ("hidden_size", "num_layers", "num_heads"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        divides = self.hidden_size % self.num_heads == 0
        _check(divides, "num_heads", f"a divisor of hidden_size ({self.hidden_size})", self.num_heads)
        _check(self.lora_rank >= 0, "lora_rank", "0 (off) or more", self.lora_rank)
        _check(0 < self.lora_alpha < math.inf, "lora_alpha", "positive", self.lora_alpha)
        _check(0 <= self.lora_dropout < 1, "lora_dropout", "between 0 and 1", self.lora_dropout)
        _check(
            not self.lora_rank or self.base is not None,
            "lora_rank",
            "0 where there is no base: a random body must learn",
            self.lora_rank,
        )
        _ = self.bins

    @property
    def bins(self) -> Bins:
        """The classes."""
        return Bins(self.bin_width_tokens, self.num_bins)


@dataclass(frozen=True, slots=True)
class OptimisationConfig:
    """How it is trained. The default values are the paper's where it has them.

    Attributes:
        accumulate: Parts that a batch is computed in, one after another; so much less memory is needed.
        warmup_share: Share of all steps in which the learning rate rises; it falls to zero over the rest.
        loss: "cross-entropy", or "ordinal": the ranked probability score, which knows that bins are near each other.
        label_smoothing: Share of the label given to its two neighbours (cross-entropy only).
        dtype: What matrices are multiplied in; parameters stay float32.
        patience: Epochs without a better validation loss after which it stops; 0: never.
        devices: Devices that share each batch; 0: all.
        checkpoint_every: Steps between checkpoints; there is one at the end of each epoch too.
    """

    epochs: int = 40
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 3e-4
    warmup_share: float = 0.06
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    loss: Literal["cross-entropy", "ordinal"] = "cross-entropy"
    label_smoothing: float = 0.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    patience: int = 5
    devices: int = 1
    checkpoint_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "checkpoint_every"):
            _check(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("patience", "devices", "seed"):
            _check(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        _check(
            self.batch_size % self.accumulate == 0, "accumulate", f"a divisor of batch_size ({self.batch_size})", self.accumulate
        )
        _check(0 < self.learning_rate < math.inf, "learning_rate", "positive", self.learning_rate)
        _check(0 <= self.warmup_share < 1, "warmup_share", "between 0 and 1", self.warmup_share)
        _check(0 <= self.weight_decay < math.inf, "weight_decay", "0 or more", self.weight_decay)
        _check(self.clip_norm > 0, "clip_norm", "positive", self.clip_norm)
        _check(0 <= self.label_smoothing < 1, "label_smoothing", "between 0 and 1", self.label_smoothing)
        smooths_ordinal = self.loss == "ordinal" and self.label_smoothing > 0
        _check(not smooths_ordinal, "label_smoothing", "0 with the ordinal loss, which is smooth already", self.label_smoothing)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A whole run: the tables ``[data]``, ``[predictor]`` and ``[optimisation]``."""

    data: DataConfig
    predictor: PredictorConfig
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for a file beside the results."""
        return _plain(dataclasses.asdict(self))


TABLES: dict[str, type[Any]] = {"data": DataConfig, "predictor": PredictorConfig, "optimisation": OptimisationConfig}


def read_config(path: Path) -> TrainingConfig:
    """The run that a TOML file describes; relative paths in it are relative to the file.

    Raises:
        ValueError: If it cannot be read, or a name or a value in it is wrong; the error says which, and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if unknown := sorted(set(content) - set(TABLES)):
        raise ValueError(f"{path}: there is no table [{unknown[0]}]; known are {', '.join(f'[{name}]' for name in TABLES)}")
    for name in ("data", "predictor"):
        if name not in content:
            raise ValueError(f"{path}: the table [{name}] is missing")
    parts = {name: _table(path, name, content.get(name, {})) for name in TABLES}
    return TrainingConfig(**parts)


def _table(path: Path, name: str, given: Any) -> Any:
    made = TABLES[name]
    hints = typing.get_type_hints(made)
    if not isinstance(given, dict):
        raise ValueError(f"{path}: {name} must be a table, got {given!r}")
    values = {}
    for key, value in given.items():
        if key not in hints:
            raise ValueError(f"{path}: [{name}] has no {key!r}; known are {', '.join(hints)}")
        try:
            values[key] = _converted(hints[key], value, path.parent)
        except ValueError as error:
            raise ValueError(f"{path}: [{name}] {key} must be {error}, got {value!r}") from None
    if "train" in hints and "train" not in values:
        raise ValueError(f"{path}: [{name}] needs train, the files with conversations")
    try:
        return made(**values)
    except ValueError as error:
        raise ValueError(f"{path}: [{name}] {error}") from None


def _converted(wanted: Any, value: Any, relative_to: Path) -> Any:
    """`value` as the type that the field has; ValueError says what that is."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is types.UnionType:
        wanted = arguments[0]
    if wanted is Path:
        if not isinstance(value, str):
            raise ValueError("a path")
        return (relative_to / value).resolve()
    if origin is tuple:
        paths = [value] if isinstance(value, str) else value
        if not isinstance(paths, list) or not all(isinstance(each, str) for each in paths):
            raise ValueError("a list of paths")
        return tuple((relative_to / each).resolve() for each in paths)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(" or ".join(map(repr, arguments)))
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ValueError({int: "a whole number", float: "a number", str: "text"}[wanted])
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _check(holds: bool, name: str, allowed: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
