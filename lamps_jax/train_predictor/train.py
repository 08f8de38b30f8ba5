"""The training loop. Stopped at any moment, also by ``kill -9``, the same command goes on and ends with the same parameters.

Every batch and every random key is a pure function of the seed and the step; what is between two checkpoints is computed again.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.weights import Parameters, abstract_parameters, bind, initial_parameters
from lamps_jax.train_predictor.batches import Batch, Batches
from lamps_jax.train_predictor.config import OptimisationConfig, PredictorConfig
from lamps_jax.train_predictor.log import TrainingLog
from lamps_jax.train_predictor.loss import Loss, cross_entropy, ranked_probability_score
from lamps_jax.train_predictor.model import (
    LengthClassifier,
    begin,
    is_dropout_key,
    is_trained_by_lora,
    merged,
    with_lora,
)

State = dict[str, Any]
"""What training changes: ``trained`` (parameters by name), ``optimizer`` and ``best``, the trained ones of the best epoch."""


class NanLossError(ValueError):
    """The loss is no number any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training has come.

    Attributes:
        step: Steps done.
        tokens_per_s: Of late, padding not counted.
        seconds_left: To the end of the last epoch.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    tokens_per_s: float
    seconds_left: float


class Trainer:
    """Everything that does not change while it trains.

    Args:
        shape: Of the OPT.
        config: What of it is trained.
        optimisation: How.
        num_steps: Steps in all, over which the learning rate falls.
    """

    def __init__(self, shape: OPTConfig, config: PredictorConfig, optimisation: OptimisationConfig, *, num_steps: int):
        self.shape, self.config, self.optimisation = shape, config, optimisation
        dtype = jnp.dtype(optimisation.dtype)
        self._plain, _ = abstract_parameters(lambda: LengthClassifier(shape, config.num_bins, dtype=dtype, rngs=nnx.Rngs(0)))
        self._graph, self._abstract = abstract_parameters(self._build)
        self._lora_factor = config.lora_alpha / config.lora_rank if config.lora_rank else 0.0
        self.schedule = learning_rates(optimisation, num_steps)
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(optimisation.clip_norm),
            optax.adamw(self.schedule, weight_decay=optimisation.weight_decay),
        )
        self.mesh = data_mesh(optimisation.devices)
        if optimisation.batch_size // optimisation.accumulate % self.mesh.size:
            raise ValueError(
                f"each of the {optimisation.accumulate} parts of a batch of {optimisation.batch_size} must divide over "
                f"{self.mesh.size} devices; change batch_size, accumulate or devices"
            )
        self._loss: Loss = (
            ranked_probability_score() if optimisation.loss == "ordinal" else cross_entropy(optimisation.label_smoothing)
        )
        self.step: Callable[..., tuple[State, jax.Array]] = jax.jit(self._step, donate_argnums=0)
        self._score = jax.jit(self._losses_of)

    def begin(self, body_from: Path | None) -> tuple[State, Parameters]:
        """The state before the first step, and the parameters that stay as they are, both on every device of the mesh."""
        parameters = begin(self.shape, self.config.num_bins, seed=self.optimisation.seed, body_from=body_from)
        if self.config.lora_rank:
            _, drawn = initial_parameters(self._build)
            parameters |= {name: value for name, value in drawn.items() if name not in parameters and not is_dropout_key(name)}
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        parameters = {name: jax.device_put(value, everywhere) for name, value in parameters.items()}
        trained = {name: value for name, value in parameters.items() if not self.config.lora_rank or is_trained_by_lora(name)}
        frozen = {name: value for name, value in parameters.items() if name not in trained}
        best = jax.tree.map(jnp.copy, trained)
        return {"trained": trained, "optimizer": self._optimizer.init(trained), "best": best}, frozen

    def finished(self, trained: Parameters, frozen: Parameters) -> Parameters:
        """The parameters of the plain classifier."""
        return merged({**frozen, **trained}, factor=self._lora_factor)

    def on_devices(self, batch: Batch) -> dict[str, jax.Array]:
        """A batch, in parts that are computed one after another, each shared by the devices."""
        parts = self.optimisation.accumulate
        shared = NamedSharding(self.mesh, PartitionSpec(None, "data"))
        arrays = {"token_ids": batch.token_ids, "valid": batch.valid, "labels": batch.labels, "weights": batch.weights}
        return {
            name: jax.device_put(array.reshape(parts, array.shape[0] // parts, *array.shape[1:]), shared)
            for name, array in arrays.items()
        }

    def loss(self, trained: Parameters, frozen: Parameters, batches: Batches) -> float:
        """The mean loss over all examples of `batches`, without dropout."""
        plain, total = self.finished(trained, frozen), 0.0
        for chosen in batches.epoch(0):
            losses = self._score(plain, self.on_devices(batches.batch(chosen)))
            total += float(np.asarray(losses).ravel()[: len(chosen)].sum())
        return total / len(batches.examples)

    def _build(self) -> LengthClassifier:
        rngs, dtype = nnx.Rngs(self.optimisation.seed), jnp.dtype(self.optimisation.dtype)
        classifier = LengthClassifier(self.shape, self.config.num_bins, dtype=dtype, rngs=rngs)
        if not self.config.lora_rank:
            return classifier
        return with_lora(
            classifier,
            rank=self.config.lora_rank,
            alpha=self.config.lora_alpha,
            dropout=self.config.lora_dropout,
            dtype=dtype,
            rngs=rngs,
        )

    def _step(self, state: State, frozen: Parameters, batch: dict[str, jax.Array], key: jax.Array) -> tuple[State, jax.Array]:
        """One update: the loss and the gradients of all parts, added up, and what the optimizer makes of them."""
        names = [name for name in self._abstract if is_dropout_key(name)]

        def part(carry: tuple[jax.Array, Parameters], inputs: tuple[dict[str, jax.Array], jax.Array]) -> Any:
            arrays, keys = inputs
            dropout = dict(zip(names, keys, strict=True))
            loss, gradients = jax.value_and_grad(self._part_loss)(state["trained"], {**frozen, **dropout}, arrays)
            return (carry[0] + loss, jax.tree.map(jnp.add, carry[1], gradients)), None

        parts = batch["labels"].shape[0]
        keys = jax.random.key_data(jax.random.split(key, (parts, len(names))))
        nothing = jax.tree.map(jnp.zeros_like, state["trained"])
        (loss, gradients), _ = jax.lax.scan(part, (jnp.zeros(()), nothing), (batch, keys))
        with jax.numpy_dtype_promotion("standard"):  # Optax counts on it
            updates, optimizer = self._optimizer.update(gradients, state["optimizer"], state["trained"])
        loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)  # else a checkpoint could hold what it spoilt
        return {"trained": optax.apply_updates(state["trained"], updates), "optimizer": optimizer, "best": state["best"]}, loss

    def _part_loss(self, trained: Parameters, others: Mapping[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
        scores = bind(self._graph, {**others, **trained})(batch["token_ids"], batch["valid"])
        return (self._loss(scores, batch["labels"]) * batch["weights"]).sum()

    def _losses_of(self, plain: Parameters, batch: dict[str, jax.Array]) -> jax.Array:
        flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in batch.items()}
        return self._loss(bind(self._plain, plain)(flat["token_ids"], flat["valid"]), flat["labels"])


def learning_rates(optimisation: OptimisationConfig, num_steps: int) -> optax.Schedule:
    """A linear rise over the first steps, and a linear fall to zero."""
    warmup = round(optimisation.warmup_share * num_steps)
    rise = optax.linear_schedule(0.0, optimisation.learning_rate, max(1, warmup))
    fall = optax.linear_schedule(optimisation.learning_rate, 0.0, max(1, num_steps - warmup))
    return optax.join_schedules([rise, fall], [warmup])


def data_mesh(num_devices: int) -> Mesh:
    """The devices that share each batch.

    Raises:
        ValueError: If there are not so many.
    """
    there = jax.devices()
    if num_devices > len(there):
        raise ValueError(f"devices must be at most {len(there)}, which there are, got {num_devices}")
    return Mesh(np.asarray(there[: num_devices or len(there)]), ("data",))


def train(
    trainer: Trainer,
    out: Path,
    *,
    training: Batches,
    validation: Batches,
    body_from: Path | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Parameters:
    """Trains until the end, or until the validation loss has not fallen for long; goes on where a run in `out` was stopped.

    Returns:
        The parameters of the epoch with the least validation loss, of the plain classifier.

    Raises:
        NanLossError: If the loss is no number any more; the checkpoints of before stay.
    """
    optimisation = trainer.optimisation
    state, frozen = trainer.begin(body_from)
    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with ocp.CheckpointManager((out / "checkpoints").absolute(), options=options) as checkpoints:
        reached: dict[str, Any] = {"step": 0, "epoch": 0, "best_loss": None, "best_epoch": 0}
        if (latest := checkpoints.latest_step()) is not None:
            wanted = ocp.args.Composite(state=ocp.args.StandardRestore(state), reached=ocp.args.JsonRestore())
            restored = checkpoints.restore(latest, args=wanted)
            state, reached = restored["state"], restored["reached"]
        with TrainingLog(out / "log.csv", from_step=reached["step"]) as log:
            pace = _Pace(optimisation.epochs * len(training), training.mean_tokens)
            for epoch in range(reached["epoch"], optimisation.epochs):
                if _is_stuck(reached, epoch, optimisation.patience):
                    break
                begun = state
                for step, state, loss in _steps(trainer, begun, frozen, training, epoch, reached["step"]):
                    _check_finite(loss, step, epoch, checkpoints)
                    reached["step"] = step + 1
                    progress = pace.after(step + 1, epoch, loss)
                    on_step(progress)
                    log.step(step + 1, epoch, loss, float(np.asarray(trainer.schedule(step))), progress.tokens_per_s)
                    if (step + 1) % optimisation.checkpoint_every == 0 and (step + 1) % len(training):
                        _save(checkpoints, state, reached)
                validation_loss = trainer.loss(state["trained"], frozen, validation)
                log.epoch(reached["step"], epoch, validation_loss)
                if reached["best_loss"] is None or validation_loss < reached["best_loss"]:
                    reached |= {"best_loss": validation_loss, "best_epoch": epoch}
                    state = {**state, "best": jax.tree.map(jnp.copy, state["trained"])}
                reached["epoch"] = epoch + 1
                _save(checkpoints, state, reached)
        checkpoints.wait_until_finished()
    return trainer.finished(state["best"], frozen)


def _steps(
    trainer: Trainer, state: State, frozen: Parameters, training: Batches, epoch: int, done: int
) -> Iterator[tuple[int, State, float]]:
    """The steps of an epoch that are still to be done: number, state after it, loss."""
    order, before, key = training.epoch(epoch), epoch * len(training), jax.random.key(trainer.optimisation.seed)
    for place in range(done - before, len(order)):
        step, batch = before + place, trainer.on_devices(training.batch(order[place]))
        state, loss = trainer.step(state, frozen, batch, jax.random.fold_in(key, step))
        yield step, state, float(loss)


def _check_finite(loss: float, step: int, epoch: int, checkpoints: ocp.CheckpointManager) -> None:
    if not math.isfinite(loss):
        kept = checkpoints.latest_step()
        left = f"the checkpoint of step {kept} in {checkpoints.directory} is good" if kept else "there was no checkpoint yet"
        raise NanLossError(
            f"the loss or its gradient is no number in step {step + 1} (epoch {epoch + 1}); training stopped, {left}; "
            "lower learning_rate"
        )


def _save(checkpoints: ocp.CheckpointManager, state: State, reached: dict[str, Any]) -> None:
    content = ocp.args.Composite(state=ocp.args.StandardSave(state), reached=ocp.args.JsonSave(json.loads(json.dumps(reached))))
    checkpoints.save(reached["step"], args=content)


def _is_stuck(reached: dict[str, Any], epoch: int, patience: int) -> bool:
    """Whether so many epochs have gone by without a better one."""
    return bool(patience) and reached["best_loss"] is not None and epoch - 1 - reached["best_epoch"] >= patience


class _Pace:
    """Tokens a second and seconds a step of late, older ones fading.

    Args:
        num_steps: Steps in all.
        step_tokens: Tokens of a step on the average.
    """

    def __init__(self, num_steps: int, step_tokens: float):
        self._num_steps, self._step_tokens, self._last_s = num_steps, step_tokens, time.perf_counter()
        self._tokens = self._seconds = self._steps = 0.0

    def after(self, step: int, epoch: int, loss: float) -> Progress:
        """What there is to say after a step that has just ended."""
        now, fade = time.perf_counter(), 0.95
        self._tokens = fade * self._tokens + self._step_tokens
        self._seconds = fade * self._seconds + now - self._last_s
        self._steps, self._last_s = fade * self._steps + 1.0, now
        left_s = (self._num_steps - step) * self._seconds / self._steps
        return Progress(step, self._num_steps, epoch, loss, self._tokens / max(self._seconds, 1e-9), left_s)
