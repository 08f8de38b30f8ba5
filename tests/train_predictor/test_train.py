import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.weights import Parameters
from lamps_jax.train_predictor.batches import Batches
from lamps_jax.train_predictor.config import OptimisationConfig, PredictorConfig
from lamps_jax.train_predictor.data import Examples
from lamps_jax.train_predictor.train import NanLossError, Trainer, learning_rates, train

pytestmark = pytest.mark.slow  # each compiles a training step or several

SHAPE = OPTConfig(
    vocab_size=50, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_position=64, embedding_size=16
)
PREDICTOR = PredictorConfig(tokenizer=Path("unused"), num_bins=8)
LORA = PredictorConfig(base=Path("unused"), num_bins=8, lora_rank=4)


def examples(count: int, *, seed: int) -> Examples:
    """Texts whose first token says how long the output is."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 50, rng.integers(3, 48)).astype(np.int32) for _ in range(count)]
    lengths = np.array([row[-1] * 80 // 50 for row in rows], np.int32)
    return Examples(np.concatenate(rows), np.cumsum([len(row) for row in rows]), lengths, ("",) * count, 0)


def batches(count: int, *, seed: int, batch_size: int, padding: str = "right") -> Batches:
    made = examples(count, seed=seed)
    labels = PREDICTOR.bins.labels(made.lengths)
    return Batches(made, labels, batch_size=batch_size, max_length=64, padding=padding)  # pyright: ignore[reportArgumentType]


def run(out: Path, config: PredictorConfig = PREDICTOR, count: int = 96, **options: object) -> tuple[Parameters, Trainer]:
    optimisation = OptimisationConfig(
        **{"epochs": 3, "batch_size": 16, "checkpoint_every": 1000, "learning_rate": 3e-3, **options}  # pyright: ignore[reportArgumentType]
    )
    training = batches(count, seed=1, batch_size=optimisation.batch_size)
    trainer = Trainer(SHAPE, config, optimisation, num_steps=optimisation.epochs * len(training))
    validation = batches(40, seed=2, batch_size=optimisation.batch_size)
    return train(trainer, out, training=training, validation=validation), trainer


def log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same(ours: Parameters, theirs: Parameters) -> None:
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_what_the_last_token_says_is_learned(tmp_path: Path) -> None:
    run(tmp_path, count=600, epochs=8, patience=0)
    losses = [float(row["validation_loss"]) for row in log(tmp_path) if row["validation_loss"]]
    assert losses[-1] < 0.5 * losses[0]


def test_bfloat16_multiplies_and_keeps_float32_parameters(tmp_path: Path) -> None:
    parameters, _ = run(tmp_path / "bf16", dtype="bfloat16")
    run(tmp_path / "f32")
    assert {str(value.dtype) for value in parameters.values()} == {"float32"}
    ends = [[float(row["validation_loss"]) for row in log(tmp_path / name) if row["validation_loss"]] for name in ("bf16", "f32")]
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.02)
    assert ends[0] != ends[1]


@pytest.mark.parametrize("config", [PREDICTOR, LORA], ids=["everything", "lora"])
def test_parts_of_a_batch_add_up_to_the_whole(tmp_path: Path, config: PredictorConfig) -> None:
    no_dropout = PredictorConfig(
        base=config.base, tokenizer=config.tokenizer, num_bins=8, lora_rank=config.lora_rank, lora_dropout=0.0
    )
    losses = []
    for accumulate in (1, 4):
        trainer = Trainer(SHAPE, no_dropout, OptimisationConfig(batch_size=16, accumulate=accumulate), num_steps=10)
        state, frozen = trainer.begin(None)
        training = batches(96, seed=1, batch_size=16)
        for place, chosen in enumerate(training.epoch(0)[:4]):
            state, loss = trainer.step(state, frozen, trainer.on_devices(training.batch(chosen)), jax.random.key(place))
            losses.append(float(loss))
    np.testing.assert_allclose(losses[:4], losses[4:], rtol=1e-5)


def test_padding_on_either_side_gives_the_same_loss() -> None:
    losses = []
    for padding in ("left", "right"):
        trainer = Trainer(SHAPE, PREDICTOR, OptimisationConfig(batch_size=16), num_steps=10)
        state, frozen = trainer.begin(None)
        losses.append(trainer.loss(state["trained"], frozen, batches(40, seed=3, batch_size=16, padding=padding)))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_with_lora_the_body_stays_as_it_is() -> None:
    trainer = Trainer(SHAPE, LORA, OptimisationConfig(batch_size=16), num_steps=10)
    state, frozen = trainer.begin(None)
    assert {name.rsplit(".", 1)[-1] for name in state["trained"]} == {"weight", "lora_a", "lora_b"}
    assert [name for name in state["trained"] if name.endswith("weight")] == ["head.weight"]
    before = {name: np.asarray(value) for name, value in frozen.items()}
    training = batches(96, seed=1, batch_size=16)
    for chosen in training.epoch(0):
        state, _ = trainer.step(state, frozen, trainer.on_devices(training.batch(chosen)), jax.random.key(0))
    finished = trainer.finished(state["trained"], frozen)
    changed = {name for name in before if name in finished and not np.array_equal(before[name], finished[name])}
    assert changed == {f"body.blocks.0.{name}_proj.weight" for name in "qv"}


def test_the_learning_rate_rises_and_falls() -> None:
    rate = learning_rates(OptimisationConfig(learning_rate=1.0, warmup_share=0.1), 100)
    assert [round(float(rate(step)), 3) for step in (0, 5, 10, 55, 100)] == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_it_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    run(tmp_path, learning_rate=0.2, epochs=40, patience=2)
    losses = [float(row["validation_loss"]) for row in log(tmp_path) if row["validation_loss"]]
    assert len(losses) < 40
    assert min(losses) == losses[-3]


def test_the_best_epoch_is_what_comes_out(tmp_path: Path) -> None:
    best, trainer = run(tmp_path, learning_rate=0.2, epochs=8, patience=0)
    losses = [float(row["validation_loss"]) for row in log(tmp_path) if row["validation_loss"]]
    assert losses.index(min(losses)) < 7
    again = trainer.loss(best, {}, batches(40, seed=2, batch_size=16))
    np.testing.assert_allclose(again, min(losses), rtol=1e-5)


def test_a_loss_that_is_no_number_stops_it_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.on_devices

    def spoilt(self: Trainer, batch: object) -> dict[str, jax.Array]:
        arrays = whole(self, batch)  # pyright: ignore[reportArgumentType]
        calls.append(0)
        return {**arrays, "weights": arrays["weights"] * float("nan")} if len(calls) == 6 else arrays

    calls: list[int] = []
    monkeypatch.setattr(Trainer, "on_devices", spoilt)
    with pytest.raises(
        NanLossError, match=r"no number in step \d+ \(epoch 1\); training stopped, the checkpoint of step \d+ in .* is good"
    ):
        run(tmp_path, checkpoint_every=2)
    monkeypatch.setattr(Trainer, "on_devices", whole)
    resumed, _ = run(tmp_path, checkpoint_every=2)
    clean, _ = run(tmp_path / "clean")
    assert_same(resumed, clean)


PROGRAM = """
import sys
from pathlib import Path
from tests.train_predictor.test_train import LORA, run
parameters, trainer = run(Path(sys.argv[1]), LORA, epochs=6, patience=0, checkpoint_every=2)
import numpy as np
np.savez(sys.argv[2], **parameters)
"""


@pytest.mark.long
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_parameters(tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, str(out), str(out.parent / f"{out.name}.npz")]
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."})

    assert start(tmp_path / "undisturbed").wait(120) == 0
    killed, num_kills, seen = tmp_path / "killed", 0, -1
    while True:
        process = start(killed)
        reached = seen
        while process.poll() is None and reached < seen + 12:
            rows = log(killed) if (killed / "log.csv").exists() else []
            reached = max((int(row["step"]) for row in rows if row["step"] and row["step"].isdigit()), default=-1)
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_kills, seen = num_kills + 1, reached
    assert process.returncode == 0
    assert num_kills >= 3
    with np.load(tmp_path / "undisturbed.npz") as wanted, np.load(tmp_path / "killed.npz") as got:
        assert sorted(wanted) == sorted(got)
        for name in wanted:
            np.testing.assert_array_equal(wanted[name], got[name], err_msg=name)
    undisturbed, again = (
        [{name: row[name] for name in ("step", "loss", "validation_loss")} for row in log(tmp_path / name)]
        for name in ("undisturbed", "killed")
    )
    assert again == undisturbed


MESH_PROGRAM = """
import json, sys
import jax
from lamps_jax.train_predictor.config import OptimisationConfig
from lamps_jax.train_predictor.train import Trainer
from tests.train_predictor.test_train import PREDICTOR, SHAPE, batches
losses = {}
for devices in (1, 8):
    trainer = Trainer(SHAPE, PREDICTOR, OptimisationConfig(batch_size=16, devices=devices, accumulate=2), num_steps=10)
    state, frozen = trainer.begin(None)
    training = batches(96, seed=1, batch_size=16)
    losses[devices] = []
    for chosen in training.epoch(0)[:6]:
        arrays = trainer.on_devices(training.batch(chosen))
        assert len(arrays["token_ids"].sharding.device_set) == devices
        state, loss = trainer.step(state, frozen, arrays, jax.random.key(0))
        losses[devices].append(float(loss))
print(json.dumps(losses))
"""


@pytest.mark.long
def test_eight_devices_lose_what_one_does() -> None:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": "."}
    root = Path(__file__).parents[2]
    output = subprocess.run([sys.executable, "-c", MESH_PROGRAM], cwd=root, env=environment, capture_output=True, check=True)
    losses = json.loads(output.stdout)
    np.testing.assert_allclose(losses["8"], losses["1"], rtol=1e-5)


def test_a_batch_that_devices_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="devices must be at most"):
        Trainer(SHAPE, PREDICTOR, OptimisationConfig(devices=99), num_steps=10)
