"""A whole training run: conversations → examples → training → a predictor's directory with a report."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError
from lamps_jax.train_predictor.baselines import BASELINES
from lamps_jax.train_predictor.batches import Batches
from lamps_jax.train_predictor.config import DataConfig, PredictorConfig, TrainingConfig
from lamps_jax.train_predictor.data import Examples, Tokenize, check_disjoint, split, tokenised
from lamps_jax.train_predictor.evaluate import report
from lamps_jax.train_predictor.figures import write_figures
from lamps_jax.train_predictor.lengths import Bins
from lamps_jax.train_predictor.model import read_opt_config
from lamps_jax.train_predictor.predict import Description, LengthPredictor
from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation
from lamps_jax.train_predictor.tables import as_markdown
from lamps_jax.train_predictor.train import Progress, Trainer, train

CONFIGURATION = "training.json"
REPORT = "report.json"

PREDICTOR = "predictor"
"""Name of the trained one in the report, beside the baselines'."""

Work = Callable[[str, int, int], None]
"""``(what, done, total)`` of the work before and after training."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The examples of a run."""

    train: Examples
    validation: Examples
    test: Examples


def run(
    config: TrainingConfig,
    out: Path,
    *,
    on_step: Callable[[Progress], None] = lambda progress: None,
    progress: Work = lambda what, done, total: None,
) -> dict[str, Any]:
    """Trains a predictor into the directory `out`, or goes on with what was begun there, and judges it on the test data.

    Returns:
        The report, which is in ``report.json`` too.

    Raises:
        ValueError: If data, configuration or what is in `out` do not fit each other.
        NanLossError: If the loss is no number any more.
    """
    _claim(config, out)
    tokenizer, shape = _tokenizer_and_shape(config)
    parts = load_parts(config.data, tokenizer, cache=out / "examples", progress=progress)
    trainer, training, validation = prepare(config, shape, parts)
    body_from = config.predictor.base
    parameters = train(trainer, out, training=training, validation=validation, body_from=body_from, on_step=on_step)
    description = Description(
        config.predictor.bin_width_tokens, config.predictor.num_bins, config.data.max_length, config.data.cut
    )
    predictor = LengthPredictor(shape, parameters, description, tokenizer)
    predictor.save(out, dtype=jnp.float32)
    result, probabilities = judge(predictor, parts, progress=progress)
    write_report(result, probabilities, parts.test, predictor.bins, out)
    return result


def prepare(config: TrainingConfig, shape: OPTConfig, parts: Parts) -> tuple[Trainer, Batches, Batches]:
    """The trainer and its batches.

    Raises:
        ValueError: If all examples are of one bin, or batches cannot be shared by the devices.
    """
    bins, optimisation = config.predictor.bins, config.optimisation
    labels = bins.labels(parts.train.lengths)
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"all {len(labels)} training examples are in bin {labels[0]} ({bins.width_tokens} tokens wide): "
            "there is nothing to learn; give other data, or make bin_width_tokens smaller"
        )
    size, length, padding = optimisation.batch_size, config.data.max_length, config.data.padding
    training = Batches(parts.train, labels, batch_size=size, max_length=length, seed=optimisation.seed, padding=padding)
    validation = Batches(
        parts.validation, bins.labels(parts.validation.lengths), batch_size=size, max_length=length, padding=padding
    )
    num_steps = optimisation.epochs * len(training)
    return Trainer(shape, config.predictor, optimisation, num_steps=num_steps), training, validation


def load_parts(data: DataConfig, tokenizer: Tokenizer, *, cache: Path | None, progress: Work) -> Parts:
    """Reads, splits and tokenises the data of a run.

    Raises:
        ValueError: If a file cannot be read, or a test conversation is among those for training.
    """
    conversations = _read(data.train)
    parts = split(conversations, test_share=data.test_share, validation_share=data.validation_share, seed=data.seed)
    train, test = parts.train, parts.test
    if data.test:
        train, test = parts.train + parts.test, _read(data.test)
        check_disjoint(conversations, test)
    served = None if data.tokenizer is None else Tokenizer.from_directory(data.tokenizer)

    def examples(conversations: Sequence[Conversation]) -> Examples:
        return tokenised(
            conversations,
            prompt_tokens(tokenizer),
            max_length=data.max_length,
            cut=data.cut,
            lengths_by=output_tokens(served or tokenizer),
            cache=cache,
            fingerprint=_fingerprint(tokenizer) + ("" if served is None else _fingerprint(served)),
            progress=progress,
        )

    return Parts(examples(train), examples(parts.validation), examples(test))


def prompt_tokens(tokenizer: Tokenizer) -> Tokenize:
    """Tokens of texts as a model reads them, with those that stand around a text."""
    return lambda texts: tokenizer.hf(texts, verbose=False)["input_ids"]


def output_tokens(tokenizer: Tokenizer) -> Tokenize:
    """Tokens of texts that a model has written."""
    return lambda texts: tokenizer.hf(texts, add_special_tokens=False, verbose=False)["input_ids"]


def judge(
    predictor: LengthPredictor, parts: Parts, *, progress: Work = lambda what, done, total: None
) -> tuple[dict[str, Any], dict[str, Float[np.ndarray, "n bins"]]]:
    """What the predictor and the baselines, which learn from the same data, are worth on the test data; and what they predict."""
    bins, test = predictor.bins, parts.test
    rows = [test.token_ids(index) for index in range(len(test))]
    predicted = []
    for start in range(0, len(rows), 256):
        progress("predicting", start, len(rows))
        predicted.append(predictor.probabilities(rows[start : start + 256]))
    probabilities = {PREDICTOR: np.concatenate(predicted)}
    for done, (name, baseline) in enumerate(BASELINES.items()):
        progress("fitting baselines", done, len(BASELINES))
        probabilities[name] = baseline.fit(bins, parts.train).probabilities(test)
    latency_ms = {PREDICTOR: _latency_ms(lambda: predictor.probabilities(rows[:1]))}
    counts = {
        "num_train": len(parts.train),
        "num_validation": len(parts.validation),
        "num_clamped": {name: int(bins.clamped(part.lengths).sum()) for name, part in (("train", parts.train), ("test", test))},
        "num_truncated": parts.train.num_truncated,
    }
    return report(bins, np.asarray(test.lengths), probabilities, latency_ms) | counts, probabilities


def write_report(
    result: dict[str, Any], probabilities: dict[str, Float[np.ndarray, "n bins"]], test: Examples, bins: Bins, out: Path
) -> None:
    """Writes ``report.json``, ``report.md`` and the figures."""
    (out / REPORT).write_text(json.dumps(result, indent=1) + "\n")
    (out / REPORT).with_suffix(".md").write_text(as_markdown(result))
    write_figures(bins, np.asarray(test.lengths), probabilities, out / "figures")


def _latency_ms(call: Callable[[], object], times: int = 20) -> float:
    """The median of so many calls, after one."""
    call()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(taken))


def _read(files: Sequence[Path]) -> list[Conversation]:
    """The conversations that have a prompt; the others have nothing to predict from."""
    read = [conversation for file in files for conversation in read_any(file)]
    if not (known := [conversation for conversation in read if conversation.prompt is not None]):
        raise ValueError(f"none of the {len(read)} conversations has a prompt to predict from; record prompts too")
    return known


def _claim(config: TrainingConfig, out: Path) -> None:
    """Notes the configuration in `out`; one that was begun with another is not gone on with."""
    path, wanted = out / CONFIGURATION, config.as_dict()
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        differing = [
            f"[{table}] {name}"
            for table, values in wanted.items()
            for name in values
            if begun.get(table, {}).get(name) != values[name]
        ]
        if differing:
            raise ValueError(
                f"{out} was begun with another configuration ({', '.join(differing)}); give another --out, or remove it"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    unfinished = out / f".{CONFIGURATION}"
    unfinished.write_text(json.dumps(wanted, indent=2) + "\n")
    unfinished.replace(path)


def _tokenizer_and_shape(config: TrainingConfig) -> tuple[Tokenizer, OPTConfig]:
    predictor, data = config.predictor, config.data
    directory = predictor.tokenizer or predictor.base
    assert directory is not None
    tokenizer = Tokenizer.from_directory(directory)
    shape = read_opt_config(predictor.base) if predictor.base is not None else _new_shape(predictor, data, tokenizer)
    if tokenizer.vocab_size > shape.vocab_size:
        raise CheckpointError(f"the tokenizer in {directory} has {tokenizer.vocab_size} tokens, the model {shape.vocab_size}")
    if data.max_length > shape.max_position:
        raise ValueError(f"max_length must be at most {shape.max_position}, which the model knows, got {data.max_length}")
    return tokenizer, shape


def _new_shape(predictor: PredictorConfig, data: DataConfig, tokenizer: Tokenizer) -> OPTConfig:
    return OPTConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=predictor.hidden_size,
        num_layers=predictor.num_layers,
        num_heads=predictor.num_heads,
        intermediate_size=4 * predictor.hidden_size,
        max_position=data.max_length,
        embedding_size=predictor.hidden_size,
    )


def _fingerprint(tokenizer: Tokenizer) -> str:
    return hashlib.blake2b(tokenizer.hf.backend_tokenizer.to_str().encode(), digest_size=12).hexdigest()
