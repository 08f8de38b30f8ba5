"""Trains the embedded model: ``python -m lamps_jax.embedded.train --out DIR``.

Interrupted at any moment, the same command goes on from the last checkpoint in ``DIR/checkpoints`` and ends with the same
weights: each batch is a pure function of the seed and the step. About two hours on two CPU cores. ``--finish MODEL`` runs the last
phase alone, on a model that is there already, in about ten minutes.
"""

import functools
import logging
import queue
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import typer
from flax import nnx
from optax import contrib
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PreTrainedTokenizerFast

from lamps_jax.embedded.batches import Rows, encode, make_batch
from lamps_jax.embedded.text import GENERATORS, NAMED_CONTAINER, PLAIN_TEXT_WORLD
from lamps_jax.embedded.tokenizer import save_tokenizer, train_tokenizer
from lamps_jax.models.attention.reference import attend_within
from lamps_jax.models.gptj import GPTJ, GPTJConfig
from lamps_jax.models.registry import load_model
from lamps_jax.models.weights import Parameters, bind, initial_parameters, save_hf_directory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training: its mix of questions and its learning rate, which warms up, stays, and falls towards zero.

    Attributes:
        learning_rate: In Adam's scale; Muon's updates are brought to the same root mean square.
        decay_start: Step of the phase from which the rate falls.
        decay_steps: Steps that it would take to reach zero; the phase may end before.
        shares: Share of each kind among the questions; None for the usual ones.
        decision_weight: Weight of the tokens with which the model decides what to do next.
    """

    steps: int
    learning_rate: float
    warmup_steps: int
    decay_start: int
    decay_steps: int
    shares: Mapping[str, float] | None = None
    decision_weight: float = 1.0


GENERAL = Phase(steps=7000, learning_rate=3e-3, warmup_steps=100, decay_start=3825, decay_steps=4675)
"""All kinds of questions."""

FINDING = Phase(
    steps=1600,
    learning_rate=2e-3,
    warmup_steps=50,
    decay_start=1600,
    decay_steps=1600,
    shares={PLAIN_TEXT_WORLD: 0.62, "calculator": 0.09, "search": 0.09, "calendar": 0.05, "two steps": 0.09, "no tool": 0.06},
    decision_weight=3.0,
)
"""Mostly plain requests to the text world: whether a thing is among those that a result lists is what is learned last."""

READING = Phase(
    steps=4000,
    learning_rate=2e-3,
    warmup_steps=1,
    decay_start=600,
    decay_steps=3400,
    shares={
        PLAIN_TEXT_WORLD: 0.06, "text world": 0.40, "calculator": 0.15, "search": 0.12,
        "calendar": 0.07, "two steps": 0.13, "no tool": 0.07,
    },
)  # fmt: skip
"""All kinds again, with more of the text world."""

FINISHING = Phase(
    steps=800,
    learning_rate=6e-4,
    warmup_steps=20,
    decay_start=200,
    decay_steps=600,
    shares={
        NAMED_CONTAINER: 0.12, "text world": 0.40, "calculator": 0.14, "search": 0.11,
        "calendar": 0.06, "two steps": 0.12, "no tool": 0.05,
    },
)  # fmt: skip
"""The same, with containers that are not there."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides the weights; `rows` of `length` tokens make a batch."""

    vocab_size: int = 512
    tokenizer_questions: int = 8000
    hidden_size: int = 192
    num_layers: int = 5
    num_heads: int = 3
    rotary_dim: int = 32
    max_position: int = 1024
    rows: int = 16
    length: int = 256
    weight_decay: float = 0.05
    seed: int = 17
    checkpoint_every: int = 200
    phases: tuple[Phase, ...] = (GENERAL, FINDING, READING, FINISHING)

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """The phase that `step` falls into."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise ValueError(f"training ends after {self.steps} steps")

    @property
    def model(self) -> GPTJConfig:
        """Shape of the model."""
        return GPTJConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            rotary_dim=self.rotary_dim,
            intermediate_size=4 * self.hidden_size,
            max_position=self.max_position,
        )


DEFAULTS = TrainingConfig()


def make_optimizer(config: TrainingConfig, parameters: Parameters) -> optax.GradientTransformation:
    """Muon for the matrices inside the blocks, Adam for the rest; the learning rate follows the phases.

    Source: Jordan et al., 2024, Muon; ``consistent_rms`` 0.2 as in Liu et al., 2025, Muon is scalable for LLM training.
    """
    pieces, boundaries, start = [], [], 0
    for phase in config.phases:
        pieces += [
            optax.linear_schedule(0.0, phase.learning_rate, phase.warmup_steps),
            optax.constant_schedule(phase.learning_rate),
            optax.linear_schedule(phase.learning_rate, 0.0, phase.decay_steps),
        ]
        boundaries += [start + phase.warmup_steps, start + phase.decay_start, start + phase.steps]
        start += phase.steps
    schedule = optax.join_schedules(pieces, boundaries[:-1])

    dimensions: Any = {
        name: contrib.MuonDimensionNumbers(1, 0) if value.ndim == 2 and name.startswith("blocks.") else None
        for name, value in parameters.items()
    }
    muon = contrib.muon(
        schedule,
        weight_decay=config.weight_decay,
        consistent_rms=0.2,
        adam_b2=0.98,
        muon_weight_dimension_numbers=dimensions,
    )
    return optax.chain(optax.clip_by_global_norm(1.0), muon)


def batch_loss(graph: nnx.GraphDef, num_layers: int, parameters: Parameters, rows: Rows) -> jax.Array:
    """Weighted mean cross-entropy of a batch."""
    logits = _logits(bind(graph, parameters), num_layers, rows)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, rows.token_ids[:, 1:])
    return (losses * rows.weights).sum() / rows.weights.sum()


def _logits(model: Any, num_layers: int, rows: Rows) -> jax.Array:
    count, length = rows.segments.shape
    same_segment = rows.segments[:, :, None] == rows.segments[:, None, :]
    mask = same_segment & jnp.tril(jnp.ones((length, length), bool))
    positions = jnp.broadcast_to(jnp.arange(length), (count, length))
    hidden, _ = model(rows.token_ids[:, :-1], positions, (None,) * num_layers, attend_within(mask))
    return model.logits(hidden)


def train(config: TrainingConfig, out: Path, *, start_from: Path | None = None, progress: Progress) -> None:
    """Trains to the end of `config`, from the last checkpoint in `out` if there is one, and writes a Hugging Face directory.

    Without a checkpoint it starts from random weights, or from the model and tokenizer in the directory `start_from`.
    """
    if start_from is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copyfile(start_from / name, out / name)
    tokenizer = _tokenizer(config, out)
    graph, parameters = initial_parameters(lambda: GPTJ(config.model, rngs=nnx.Rngs(config.seed)))
    if start_from is not None:
        trained = load_model(start_from, dtype="float32")
        parameters = dict(zip(trained.parameter_names, trained.weights, strict=True))
    optimizer = make_optimizer(config, parameters)
    state = {"parameters": parameters, "optimizer": optimizer.init(parameters)}
    loss_of = functools.partial(batch_loss, graph, config.num_layers)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: dict[str, Any], batch: Rows) -> tuple[dict[str, Any], jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(state["parameters"], batch)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["parameters"])
        return {"parameters": optax.apply_updates(state["parameters"], updates), "optimizer": optimizer_state}, loss

    options = ocp.CheckpointManagerOptions(max_to_keep=2, save_interval_steps=config.checkpoint_every)
    with ocp.CheckpointManager((out / "checkpoints").absolute(), options=options) as checkpoints:
        start = checkpoints.latest_step() or 0
        if start:
            logger.info("resuming at step %d", start)
            state = checkpoints.restore(start, args=ocp.args.StandardRestore(state))
        task = progress.add_task("training", total=config.steps, completed=start, loss=float("nan"), right="")
        average = None
        held_out = HeldOut(tokenizer, graph, config)
        for step, batch in _prefetch(tokenizer, config, start):
            state, loss = update(state, batch)
            average = float(loss) if average is None else 0.98 * average + 0.02 * float(loss)
            progress.update(task, completed=step + 1, loss=average)
            if (step + 1) % 50 == 0:
                logger.info("step %d of %d, loss %.4f", step + 1, config.steps, average)
            checkpoints.save(step + 1, args=ocp.args.StandardSave(state))
            if (step + 1) % (2 * config.checkpoint_every) == 0:
                right = held_out.share_right(state["parameters"])
                logger.info("held out, answered token for token: %s", right)
        checkpoints.wait_until_finished()
    save_hf_directory(out, config.model, state["parameters"], dtype=jnp.float16)
    (out / "generation_config.json").write_text('{"bos_token_id": 0, "do_sample": false, "eos_token_id": 0}\n')


def _tokenizer(config: TrainingConfig, out: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in `out`, which a run that goes on must not change; fitted and saved there if there is none."""
    if (out / "tokenizer_config.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out)
    tokenizer = train_tokenizer(vocab_size=config.vocab_size, num_questions=config.tokenizer_questions, seed=config.seed)
    out.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, out)
    return tokenizer


def _prefetch(
    tokenizer: PreTrainedTokenizerFast, config: TrainingConfig, start: int, depth: int = 4
) -> Iterator[tuple[int, Rows]]:
    """Batches from step `start` on, made by a thread while the step before them runs."""
    ready: queue.Queue[tuple[int, Rows]] = queue.Queue(depth)

    def produce() -> None:
        for step in range(start, config.steps):
            phase = config.phase_at(step)
            batch = make_batch(
                tokenizer,
                rows=config.rows,
                length=config.length,
                seed=config.seed,
                step=step,
                shares=phase.shares,
                decision_weight=phase.decision_weight,
            )
            ready.put((step, batch))

    threading.Thread(target=produce, daemon=True, name="batches").start()
    for _ in range(start, config.steps):
        yield ready.get()


class HeldOut:
    """Held-out questions of each kind, to see during training how many the model would answer token for token."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, graph: nnx.GraphDef, config: TrainingConfig, per_kind: int = 32):
        rng, self._kinds, self._rows = random.Random(config.seed), list(GENERATORS), []
        for kind in self._kinds:
            token_ids, own = np.zeros((per_kind, 321), np.int32), np.zeros((per_kind, 320), np.float32)
            for row in range(per_kind):
                ids, mine = encode(tokenizer, GENERATORS[kind][0](rng, "held_out"))
                ids, mine = ids[:321], mine[:321]
                token_ids[row, : len(ids)], own[row, : len(ids) - 1] = ids, mine[1:]
            self._rows.append(Rows(token_ids, np.ones_like(own, np.int32), own))
        self._right: Callable[[Parameters, Rows], jax.Array] = jax.jit(functools.partial(_share_right, graph, config.num_layers))

    def share_right(self, parameters: Parameters) -> dict[str, float]:
        """For each kind, the share of questions whose every own token is the likeliest, given the right ones before it."""
        return {kind: round(float(self._right(parameters, rows)), 3) for kind, rows in zip(self._kinds, self._rows, strict=True)}


def _share_right(graph: nnx.GraphDef, num_layers: int, parameters: Parameters, rows: Rows) -> jax.Array:
    likeliest = _logits(bind(graph, parameters), num_layers, rows).argmax(-1)
    return ((likeliest == rows.token_ids[:, 1:]) | (rows.weights == 0)).all(-1).mean()


jax.tree_util.register_dataclass(Rows)


def main(
    out: Annotated[Path, typer.Option(help="Directory for checkpoints and the finished model.")] = Path("embedded-model"),
    seed: Annotated[int, typer.Option(help="Seed of weights and questions.")] = DEFAULTS.seed,
    finish: Annotated[
        Path | None, typer.Option(help="Only the last phase, on the model in this directory: 'lamps_jax/embedded/model', say.")
    ] = None,
) -> None:
    """Trains the small tool-calling GPT-J that ships with lamps-jax."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)
    config = TrainingConfig(seed=seed) if finish is None else TrainingConfig(seed=seed, phases=(FINISHING,))
    logger.info("training %s", asdict(config))
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns) as progress:
        train(config, out, start_from=finish, progress=progress)


if __name__ == "__main__":
    typer.run(main)
