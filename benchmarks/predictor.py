"""Training and prediction of the length predictor against the same job in PyTorch, on the same weights, batches and threads.

    python -m benchmarks.predictor --out benchmarks/results/predictor.json

A step is what `train-predictor` does in one: forward, backward, clipping, AdamW, with the loss read at its end. PyTorch runs
transformers' class of the same model with scaled-dot-product attention, its own fused AdamW and clipping.
The two take turns, so that a busy moment of the machine hits both.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from transformers import OPTConfig, OPTForSequenceClassification

from benchmarks.document import write_document
from lamps_jax import terminal
from lamps_jax.train_predictor.batches import Batch
from lamps_jax.train_predictor.config import OptimisationConfig, PredictorConfig
from lamps_jax.train_predictor.model import load_classifier, read_opt_config
from lamps_jax.train_predictor.predict import Description, LengthPredictor
from lamps_jax.train_predictor.train import Trainer

SHAPES: dict[str, dict[str, int]] = {
    "opt-125m": {"vocab_size": 50272, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "ffn_dim": 3072},
    "opt-small": {"vocab_size": 50272, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "ffn_dim": 1024},
}
NUM_BINS = 50

Call = Callable[[], float]


def make_checkpoint(shape: str, directory: Path) -> OPTForSequenceClassification:
    """A model of transformers with random weights, saved for ours to load."""
    torch.manual_seed(0)
    size = SHAPES[shape]
    model = OPTForSequenceClassification(
        OPTConfig(**size, word_embed_proj_dim=size["hidden_size"], num_labels=NUM_BINS, dropout=0.0, max_position_embeddings=2048)
    )
    model.save_pretrained(directory)
    return model


def make_batch(rows: int, length: int, vocab_size: int) -> Batch:
    """Texts that fill the batch, so that every token counts for both."""
    rng = np.random.default_rng(0)
    token_ids = rng.integers(2, vocab_size, (rows, length)).astype(np.int32)
    labels = rng.integers(0, NUM_BINS, rows).astype(np.int32)
    return Batch(token_ids, np.ones((rows, length), bool), labels, np.full(rows, 1.0 / rows, np.float32))


def our_step(directory: Path, batch: Batch) -> Call:
    """A step of `Trainer`; it gives the loss."""
    optimisation = OptimisationConfig(batch_size=len(batch.labels), warmup_share=0.0)
    shape = read_opt_config(directory)
    trainer = Trainer(shape, PredictorConfig(base=directory, num_bins=NUM_BINS), optimisation, num_steps=1000)
    state, frozen = trainer.begin(None)
    trained = load_classifier(directory, shape, NUM_BINS)
    held = {"state": {**state, "trained": trained, "best": {name: value.copy() for name, value in trained.items()}}}

    def step() -> float:
        held["state"], loss = trainer.step(held["state"], frozen, trainer.on_devices(batch), jax.random.key(0))
        return float(loss)

    return step


def their_step(model: OPTForSequenceClassification, batch: Batch) -> Call:
    """The same in PyTorch."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01, fused=True)
    token_ids, labels = torch.tensor(batch.token_ids.astype(np.int64)), torch.tensor(batch.labels.astype(np.int64))

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(token_ids, attention_mask=torch.ones_like(token_ids)).logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def our_prediction(directory: Path, batch: Batch) -> Call:
    """One call of `LengthPredictor`."""
    shape = read_opt_config(directory)
    predictor = LengthPredictor(shape, load_classifier(directory, shape, NUM_BINS), Description(10, NUM_BINS, 2048))
    return lambda: float(predictor.probabilities(list(batch.token_ids))[0, 0])


def their_prediction(model: OPTForSequenceClassification, batch: Batch) -> Call:
    """The same in PyTorch."""
    token_ids = torch.tensor(batch.token_ids.astype(np.int64))

    def predict() -> float:
        model.eval()
        with torch.inference_mode():
            scores = model(token_ids, attention_mask=torch.ones_like(token_ids)).logits
            return float(torch.softmax(scores, -1)[0, 0])

    return predict


def take_turns(ours: Call, theirs: Call, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each call, after two that do not count, the first of which must agree."""
    first = ours(), theirs()
    if not np.isclose(*first, rtol=2e-3):
        raise RuntimeError(f"the two do not compute the same: {first[0]} and {first[1]}")
    ours(), theirs()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, call in enumerate((ours, theirs)):
            begun = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - begun)
    return seconds


def measured(name: str, shape: str, batch: Batch, seconds: tuple[list[float], list[float]]) -> dict[str, Any]:
    """What is kept of one comparison; `ratio` is PyTorch's time over ours, round by round."""
    ratios = [theirs / ours for ours, theirs in zip(*seconds, strict=True)]
    return {
        "what": name, "shape": shape, "batch": len(batch.labels), "length": batch.token_ids.shape[1],
        "ours_s": statistics.median(seconds[0]), "pytorch_s": statistics.median(seconds[1]),
        "tokens_per_s": batch.token_ids.size / statistics.median(seconds[0]),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios), "rounds": len(ratios),
    }  # fmt: skip


def as_markdown(runs: list[dict[str, Any]]) -> str:
    """The table of docs/performance.md."""
    lines = ["| what | shape | batch × tokens | lamps-jax | PyTorch | ratio | range |", "|---|---|---|---:|---:|---:|---:|"]
    for run in runs:
        times = [
            f"{1e3 * run[side]:,.0f} ms" if run[side] >= 0.1 else f"{1e3 * run[side]:.1f} ms" for side in ("ours_s", "pytorch_s")
        ]
        spread = f"{run['ratio_min']:.2f} to {run['ratio_max']:.2f}"
        what = f"| {run['what']} | {run['shape']} | {run['batch']} × {run['length']}"
        lines.append(f"{what} | {' | '.join(times)} | {run['ratio']:.2f} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/predictor.json"), help="where to write the results")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each side has")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    runs = []
    cases = [("opt-125m", 8, 128), ("opt-small", 64, 128)]
    with tempfile.TemporaryDirectory() as folder, terminal.progress_bar() as progress:
        for done, (shape, rows, length) in enumerate(cases):
            directory = Path(folder) / shape
            model = make_checkpoint(shape, directory)
            vocab_size = SHAPES[shape]["vocab_size"]
            progress("predicting", done, len(cases))
            for what, batch in (("prediction", make_batch(1, 512, vocab_size)), ("prediction", make_batch(32, 128, vocab_size))):
                seconds = take_turns(our_prediction(directory, batch), their_prediction(model, batch), arguments.rounds)
                runs.append(measured(what, shape, batch, seconds))
            progress("training", done, len(cases))
            batch = make_batch(rows, length, vocab_size)
            seconds = take_turns(our_step(directory, batch), their_step(model, batch), arguments.rounds)
            runs.append(measured("training step", shape, batch, seconds))
    print(as_markdown(runs))
    write_document(arguments.out, "predictor", runs)


if __name__ == "__main__":
    main()
