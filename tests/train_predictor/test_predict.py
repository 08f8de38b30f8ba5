"""A predictor's distributions are those of transformers' ``OPTForSequenceClassification``, however they are asked for."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import OPTConfig as TheirConfig
from transformers import OPTForSequenceClassification

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.weights import CheckpointError
from lamps_jax.train_predictor.model import begin
from lamps_jax.train_predictor.predict import BATCH_SIZES, DESCRIPTION, Description, LengthPredictor
from tests.models.tokenizer_files import save_opt

NUM_BINS, LIMIT = 5, 40
DESCRIBED = {"format": 1, "bin_width_tokens": 20, "num_bins": NUM_BINS, "max_length": LIMIT, "cut": "left"}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OPTForSequenceClassification]:
    directory = tmp_path_factory.mktemp("theirs")
    shape = {"vocab_size": 480, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24}
    torch.set_num_threads(1)  # more only spin beside JAX's
    torch.manual_seed(0)
    shape |= {"max_position_embeddings": 48, "word_embed_proj_dim": 16, "num_labels": NUM_BINS, "pad_token_id": 1}
    config = TheirConfig(**shape)  # pyright: ignore[reportArgumentType]
    model = OPTForSequenceClassification(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(directory)
    save_opt(directory)
    (directory / DESCRIPTION).write_text(json.dumps(DESCRIBED))
    return directory, model


@pytest.fixture(scope="module")
def predictor(theirs: tuple[Path, OPTForSequenceClassification]) -> LengthPredictor:
    return LengthPredictor.from_directory(theirs[0])


def rows_of(*lengths: int) -> list[list[int]]:
    rng = np.random.default_rng(len(lengths))
    return [rng.integers(4, 480, length).tolist() for length in lengths]


def alone(model: OPTForSequenceClassification, row: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([row])).logits.softmax(1)[0].numpy()


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 70])
def test_distributions_are_those_of_transformers_for_each_row_alone(
    theirs: tuple[Path, OPTForSequenceClassification], predictor: LengthPredictor, count: int
) -> None:
    rows = rows_of(*np.random.default_rng(count).integers(1, LIMIT + 1, count).tolist())
    got = predictor.probabilities(rows)
    assert got.shape == (count, NUM_BINS)
    for ours, row in zip(got, rows, strict=True):
        np.testing.assert_allclose(ours, alone(theirs[1], row), atol=1e-5)
    np.testing.assert_allclose(got.sum(1), 1.0, rtol=1e-5)


def test_texts_in_a_predictors_own_tokens_give_what_transformers_makes_of_them(
    theirs: tuple[Path, OPTForSequenceClassification], predictor: LengthPredictor
) -> None:
    assert predictor.tokenizer is not None
    row = predictor.tokenizer.encode_prompt("def double(numbers):")
    np.testing.assert_allclose(predictor.probabilities([row])[0], alone(theirs[1], row), atol=1e-5)


@pytest.mark.parametrize("cut", ["left", "right"])
def test_long_rows_are_cut_as_they_were_in_training(
    theirs: tuple[Path, OPTForSequenceClassification], tmp_path: Path, cut: str
) -> None:
    for path in theirs[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / DESCRIPTION).write_text(json.dumps(DESCRIBED | {"cut": cut, "max_length": 30}))
    (row,) = rows_of(300)
    (got,) = LengthPredictor.from_directory(tmp_path).probabilities([np.asarray(row, np.int32)])
    np.testing.assert_allclose(got, alone(theirs[1], row[-30:] if cut == "left" else row[:30]), atol=1e-5)


def test_a_row_without_tokens_is_refused(predictor: LengthPredictor) -> None:
    with pytest.raises(ValueError, match="an empty text predicts nothing; give at least one token"):
        predictor.probabilities([[5], []])


def test_what_is_saved_is_read_by_it_and_by_transformers(
    theirs: tuple[Path, OPTForSequenceClassification], predictor: LengthPredictor, tmp_path: Path
) -> None:
    predictor.save(tmp_path / "new")
    again = LengthPredictor.from_directory(tmp_path / "new")
    rows = rows_of(3, 20)
    np.testing.assert_array_equal(again.probabilities(rows), predictor.probabilities(rows))
    assert (again.description, again.bins) == (predictor.description, predictor.bins)
    model = OPTForSequenceClassification.from_pretrained(tmp_path / "new").eval()
    np.testing.assert_allclose(alone(model, rows[1]), alone(theirs[1], rows[1]), atol=1e-6)
    text = "Grüße aus Köln, two  spaces"
    assert again.tokenizer is not None and predictor.tokenizer is not None
    assert again.tokenizer.encode_prompt(text) == predictor.tokenizer.encode_prompt(text)


def test_half_precision_halves_the_file_and_hardly_moves_the_distribution(predictor: LengthPredictor, tmp_path: Path) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        predictor.save(tmp_path / dtype.__name__, dtype=dtype)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("float32", "bfloat16")]
    assert sizes[1] < 0.6 * sizes[0]
    rows = rows_of(3, 20)
    again = LengthPredictor.from_directory(tmp_path / "bfloat16").probabilities(rows)
    np.testing.assert_allclose(again, predictor.probabilities(rows), atol=0.05)


def watched(predictor: LengthPredictor, monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, ...]]:
    """The shapes of the batches that `predictor` computes from now on."""
    shapes = set[tuple[int, ...]]()

    def run(parameters: object, token_ids: np.ndarray, valid: np.ndarray) -> np.ndarray:
        assert token_ids.shape == valid.shape
        shapes.add(token_ids.shape)
        return np.zeros((len(token_ids), predictor.bins.count), np.float32)

    monkeypatch.setattr(predictor, "_run", run)
    return shapes


@pytest.mark.parametrize("limit", [1, 20, 32, 33, 100, 128])
def test_after_the_warm_up_nothing_is_compiled(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = OPTConfig(60, 8, 1, 2, 16, limit, 8)
    predictor = LengthPredictor(shape, begin(shape, NUM_BINS, seed=0), Description(20, NUM_BINS, limit))
    warmed, told = watched(predictor, monkeypatch), list[tuple[int, int]]()
    predictor.warm_up(lambda done, total: told.append((done, total)))
    assert told == [(done, len(warmed)) for done in range(len(warmed) + 1)]
    asked = watched(predictor, monkeypatch)
    for length in range(1, limit + 2):
        for count in (*BATCH_SIZES, 5, 33):
            predictor.probabilities([[3] * length] * count)
    assert asked == warmed


def test_one_without_a_tokenizer_is_not_saved(tmp_path: Path) -> None:
    shape = OPTConfig(60, 8, 1, 2, 16, 32, 8)
    predictor = LengthPredictor(shape, begin(shape, NUM_BINS, seed=0), Description(20, NUM_BINS, 32))
    with pytest.raises(ValueError, match="a predictor is saved with its tokenizer, and this one has none"):
        predictor.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


WITHOUT_BINS = {name: value for name, value in DESCRIBED.items() if name != "num_bins"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", r"cannot read .*predictor\.json: Expecting value"),
        ("[1]", r"cannot read .*predictor\.json: "),
        ("{}", r"cannot read .*predictor\.json: 'format'"),
        (DESCRIBED | {"format": 2}, r"cannot read .*predictor\.json: its format is not known; a newer lamps-jax may have"),
        (WITHOUT_BINS, r"cannot read .*predictor\.json: .*num_bins"),
        (DESCRIBED | {"colour": "red"}, r"cannot read .*predictor\.json: .*colour"),
        (DESCRIBED | {"num_bins": 1}, r"cannot read .*predictor\.json: num_bins must be at least 2, got 1"),
        (DESCRIBED | {"num_bins": 5.5}, r"cannot read .*predictor\.json: num_bins must be a whole number, at least 1, got 5\.5"),
        (DESCRIBED | {"bin_width_tokens": 0}, r"cannot read .*predictor\.json: bin_width_tokens must be .*, got 0"),
        (DESCRIBED | {"max_length": "40"}, r"cannot read .*predictor\.json: max_length must be a whole number, .*, got '40'"),
        (DESCRIBED | {"cut": "middle"}, r"cannot read .*predictor\.json: cut must be 'left' or 'right', got 'middle'"),
        (DESCRIBED | {"max_length": 49}, r"predictor\.json has texts of 49 tokens, the model reads 48"),
        (DESCRIBED | {"num_bins": 6}, r"score\.weight is \[5, 16\], not \[6, 16\]"),
    ],
)
def test_a_damaged_description_is_named(
    theirs: tuple[Path, OPTForSequenceClassification], tmp_path: Path, content: Any, error: str
) -> None:
    for path in theirs[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / DESCRIPTION).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError, match=error):
        LengthPredictor.from_directory(tmp_path)


def test_a_directory_without_a_description_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds no length predictor: it has no predictor\.json; train one with 'lamps-jax train-"
    ):
        LengthPredictor.from_directory(tmp_path)


def test_damaged_weights_are_named(theirs: tuple[Path, OPTForSequenceClassification], tmp_path: Path) -> None:
    for path in theirs[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        LengthPredictor.from_directory(tmp_path)


def test_the_distribution_is_float32_on_the_machine_that_asks(predictor: LengthPredictor) -> None:
    got = predictor.probabilities(rows_of(4))
    assert isinstance(got, np.ndarray) and not isinstance(got, jax.Array) and got.dtype == np.float32
