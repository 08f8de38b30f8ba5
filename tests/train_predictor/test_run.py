import json
from pathlib import Path

import numpy as np
import pytest

from lamps_jax.embedded.conversations import conversations
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.train_predictor.config import DataConfig, OptimisationConfig, PredictorConfig, TrainingConfig, read_config
from lamps_jax.train_predictor.predict import LengthPredictor
from lamps_jax.train_predictor.run import load_parts, run

pytestmark = pytest.mark.slow  # they train, and fit the baselines

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "conversations.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in conversations(120)))
    return path


def config(data: Path, **predictor: object) -> TrainingConfig:
    shape = {
        "tokenizer": EMBEDDED_MODEL,
        "hidden_size": 16,
        "num_layers": 1,
        "num_heads": 2,
        "bin_width_tokens": 4,
        "num_bins": 12,
    }
    return TrainingConfig(
        DataConfig((data,), max_length=64),
        PredictorConfig(**(shape | predictor)),  # pyright: ignore[reportArgumentType]
        OptimisationConfig(epochs=2, batch_size=32, learning_rate=3e-3),
    )


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("predictor")
    return out, run(config(data), out)


def test_a_run_leaves_a_predictor_a_report_and_figures(trained: tuple[Path, dict[str, object]]) -> None:
    out, report = trained
    assert json.loads((out / "report.json").read_text()) == report
    assert "| predictor |" in (out / "report.md").read_text()
    assert len(list((out / "figures").glob("*.png"))) == 4
    predictor = LengthPredictor.from_directory(out)
    row = Tokenizer.from_directory(out).encode_prompt("Q: What is 48*37?\nA:")
    (distribution,) = predictor.probabilities([row])
    np.testing.assert_allclose(distribution.sum(), 1.0, rtol=1e-5)


def test_what_is_judged_was_not_trained_on(trained: tuple[Path, dict[str, object]]) -> None:
    _, report = trained
    counts = [report[name] for name in ("num_train", "num_validation", "num_examples")]
    assert all(isinstance(count, int) and count > 0 for count in counts)


def test_a_finished_run_ends_at_once_with_the_same_report(trained: tuple[Path, dict[str, object]], data: Path) -> None:
    out, report = trained
    again = run(config(data), out)
    for each in (report, again):
        each["predictors"]["predictor"].pop("latency_ms", None)  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
    assert again == report


def test_a_directory_begun_otherwise_is_left_alone(trained: tuple[Path, dict[str, object]], data: Path) -> None:
    out, _ = trained
    before = (out / "training.json").read_bytes()
    with pytest.raises(ValueError, match=r"begun with another configuration \(\[predictor\] hidden_size\); give another --out"):
        run(config(data, hidden_size=32), out)
    assert (out / "training.json").read_bytes() == before


def test_lengths_that_are_all_alike_teach_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"all \d+ training examples are in bin 0 \(1000 tokens wide\): there is nothing to learn"
    ):
        run(config(data, bin_width_tokens=1000), tmp_path)


def test_a_test_conversation_among_those_for_training_is_a_leak(data: Path, tmp_path: Path) -> None:
    leaking = tmp_path / "test.jsonl"
    leaking.write_text(data.read_text().splitlines()[5] + "\n")
    base = config(data)
    with pytest.raises(ValueError, match=r"1 conversations of the test data are in the training data too, the first is 'Q: "):
        run(
            TrainingConfig(DataConfig((data,), test=(leaking,), max_length=64), base.predictor, base.optimisation),
            tmp_path / "out",
        )


def test_conversations_without_prompts_are_left_out(data: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.jsonl"
    silent.write_text('{"prompt_tokens": 9, "segments": [{"num_tokens": 3}]}\n' * 5)
    tokenizer = Tokenizer.from_directory(EMBEDDED_MODEL)
    with pytest.raises(ValueError, match="none of the 5 conversations has a prompt to predict from"):
        load_parts(DataConfig((silent,), max_length=64), tokenizer, cache=None, progress=lambda what, done, total: None)
    counts = []
    for files in ((data,), (data, silent)):
        parts = load_parts(DataConfig(files, max_length=64), tokenizer, cache=None, progress=lambda what, done, total: None)
        counts.append([len(part) for part in (parts.train, parts.validation, parts.test)])
    assert counts[0] == counts[1]


@pytest.mark.long
def test_the_example_trains(tmp_path: Path) -> None:
    example = (ROOT / "examples/predictor.toml").read_text()
    model = str(EMBEDDED_MODEL)
    (tmp_path / "predictor.toml").write_text(
        example.replace("../build/conversations.jsonl", "data.jsonl")
        .replace("../lamps_jax/embedded/model", model)
        .replace("epochs = 8", "epochs = 4")
    )
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in conversations(400)))
    report = run(read_config(tmp_path / "predictor.toml"), tmp_path / "out")
    judged = {name: each["nll_nats"] for name, each in report["predictors"].items()}
    assert judged["predictor"] < judged["constant"]
