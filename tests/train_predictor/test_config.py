import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.train_predictor.config import TABLES, DataConfig, OptimisationConfig, PredictorConfig, TrainingConfig, read_config

EXAMPLE = Path(__file__).parents[2] / "examples/predictor.toml"

LEAST: dict[str, dict[str, str]] = {"data": {"train": '["a.jsonl"]'}, "predictor": {"tokenizer": '"model"'}, "optimisation": {}}
"""A file that says no more than it must, as the values stand in it."""

FIELDS = [(table, field.name) for table, made in TABLES.items() for field in dataclasses.fields(made)]


def written(tmp_path: Path, **changes: dict[str, str]) -> Path:
    tables = {name: values | changes.get(name, {}) for name, values in LEAST.items()}
    path = tmp_path / "run.toml"
    path.write_text(
        "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) for name, values in tables.items())
    )
    return path


def error_of(path: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_config(path)
    return str(caught.value)


def test_what_is_not_said_is_the_papers(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[data]\ntrain = "a.jsonl"\n[predictor]\ntokenizer = "model"\n')
    config = read_config(path)
    assert config == TrainingConfig(
        DataConfig((tmp_path / "a.jsonl",)), PredictorConfig(tokenizer=tmp_path / "model"), OptimisationConfig()
    )
    assert (config.predictor.bins.width_tokens, config.predictor.bins.count) == (10, 50)
    assert (config.data.test_share, config.data.seed, config.optimisation.epochs) == (0.2, 42, 40)


def test_everything_can_be_said(tmp_path: Path) -> None:
    said: dict[str, dict[str, Any]] = {
        "data": {"train": ["a", "b"], "test": ["c"], "test_share": 0.5, "validation_share": 0.25, "tokenizer": "t"}
        | {"max_length": 7, "cut": "right", "padding": "left", "seed": 0},
        "predictor": {"base": "b", "tokenizer": "p", "hidden_size": 6, "num_layers": 1, "num_heads": 3, "bin_width_tokens": 2}
        | {"num_bins": 9, "lora_rank": 4, "lora_alpha": 8.5, "lora_dropout": 0.0},
        "optimisation": {"epochs": 1, "batch_size": 6, "accumulate": 3, "learning_rate": 0.5, "warmup_share": 0.0}
        | {"weight_decay": 0.0, "clip_norm": 2.0, "loss": "ordinal", "label_smoothing": 0.0, "dtype": "bfloat16"}
        | {"patience": 0, "devices": 0, "checkpoint_every": 1, "seed": 5},
    }
    assert [(table, name) for table, values in said.items() for name in values] == FIELDS
    values = {table: {name: json.dumps(value) for name, value in given.items()} for table, given in said.items()}
    read = read_config(written(tmp_path, **values)).as_dict()
    assert read == json.loads(json.dumps(read))
    for table, name in FIELDS:
        value, wanted = read[table][name], said[table][name]
        if name in ("train", "test"):
            wanted = [str(tmp_path / each) for each in wanted]
        elif name in ("base", "tokenizer"):
            wanted = str(tmp_path / wanted)
        assert value == wanted, name


def test_paths_are_relative_to_the_file_wherever_the_process_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    path = written(tmp_path, data={"train": '["../a", "/b/c"]', "test": '"d"'}).rename(tmp_path / "inner" / "run.toml")
    for stand, given in ((Path("/"), path), (tmp_path, Path("inner/run.toml"))):
        monkeypatch.chdir(stand)
        config = read_config(given)
        assert config.data.train == (tmp_path / "a", Path("/b/c"))
        assert config.data.test == (tmp_path / "inner" / "d",)
        assert config.predictor.tokenizer == tmp_path / "inner" / "model"


def test_a_whole_number_may_stand_for_a_number(tmp_path: Path) -> None:
    rate = read_config(written(tmp_path, optimisation={"learning_rate": "1"})).optimisation.learning_rate
    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(("table", "name"), FIELDS)
@pytest.mark.parametrize("value", ["true", "[1]", "{a = 1}", "nan", "-1", "1979-05-27"])
def test_a_value_that_fits_no_field_is_refused_with_file_table_and_field(
    tmp_path: Path, table: str, name: str, value: str
) -> None:
    path = written(tmp_path, **{table: {name: value}})
    assert error_of(path).startswith(f"{path}: [{table}] {name} must be ")


@pytest.mark.parametrize(
    ("table", "given", "error"),
    [
        ("data", {"train": "[]"}, "train must be at least one file, got"),
        ("data", {"train": "3"}, "train must be a list of paths, got 3"),
        ("data", {"tokenizer": '["a", "b"]'}, "tokenizer must be a path, got ['a', 'b']"),
        ("data", {"tokenizer": "[]"}, "tokenizer must be a path, got []"),
        ("data", {"test_share": "1"}, "test_share must be between 0 and 1, got 1.0"),
        ("data", {"test_share": '"a"'}, "test_share must be a number, got 'a'"),
        ("data", {"validation_share": "0"}, "validation_share must be between 0 and 1, got 0.0"),
        ("data", {"max_length": "0"}, "max_length must be at least 1, got 0"),
        ("data", {"max_length": "8.0"}, "max_length must be a whole number, got 8.0"),
        ("data", {"cut": '"middle"'}, "cut must be 'left' or 'right', got 'middle'"),
        ("data", {"max_lenght": "8"}, "has no 'max_lenght'; known are train, test, test_share, "),
        ("predictor", {"num_bins": "1"}, "num_bins must be at least 2, got 1"),
        ("predictor", {"bin_width_tokens": "0"}, "bin_width_tokens must be at least 1, got 0"),
        ("predictor", {"num_heads": "3"}, "num_heads must be a divisor of hidden_size (128), got 3"),
        ("predictor", {"lora_rank": "2"}, "lora_rank must be 0 where there is no base"),
        ("predictor", {"lora_dropout": "1"}, "lora_dropout must be between 0 and 1, got 1.0"),
        ("optimisation", {"batch_size": "6", "accumulate": "4"}, "accumulate must be a divisor of batch_size (6), got 4"),
        ("optimisation", {"learning_rate": "inf"}, "learning_rate must be positive, got inf"),
        ("optimisation", {"clip_norm": "0"}, "clip_norm must be positive, got 0.0"),
        ("optimisation", {"loss": '"mse"'}, "loss must be 'cross-entropy' or 'ordinal', got 'mse'"),
        ("optimisation", {"dtype": '"float16"'}, "dtype must be 'float32' or 'bfloat16', got 'float16'"),
        ("optimisation", {"loss": '"ordinal"', "label_smoothing": "0.1"}, "label_smoothing must be 0 with the ordinal loss"),
        ("optimisation", {"momentum": "0.9"}, "has no 'momentum'; known are epochs, batch_size, "),
    ],
)
def test_a_wrong_name_or_value_is_told_what_is_allowed(tmp_path: Path, table: str, given: dict[str, str], error: str) -> None:
    path = written(tmp_path, **{table: given})
    assert error_of(path).startswith(f"{path}: [{table}] {error}")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[predictor]\n", ": the table [data] is missing"),
        ('[data]\ntrain = "a"\n', ": the table [predictor] is missing"),
        ("[data]\n[predictor]\n", ": [data] needs train, the files with conversations"),
        ('[data]\ntrain = "a"\n[predictor]\n', ": [predictor] tokenizer must be a directory where there is no base, got None"),
        ("data = 3\n[predictor]\n", ": data must be a table, got 3"),
        ('[[data]]\ntrain = "a"\n[predictor]\n', ": data must be a table, got [{"),
        ("[optimization]\n", ": there is no table [optimization]; known are [data], [predictor], [optimisation]"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, content: str, error: str) -> None:
    (tmp_path / "run.toml").write_text(content)
    assert error_of(tmp_path / "run.toml").startswith(f"{tmp_path / 'run.toml'}{error}")


@pytest.mark.parametrize("content", [b"[data\n", b"\xff\xfe", b"[data]\ntrain = 'a'\ntrain = 'b'\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    for path in (tmp_path / "run.toml", tmp_path / "absent.toml", tmp_path):
        assert error_of(path).startswith(f"cannot read {path}: ")


def test_the_example_reads_and_its_tokenizer_is_there() -> None:
    config = read_config(EXAMPLE)
    assert config.predictor.tokenizer is not None and (config.predictor.tokenizer / "tokenizer.json").is_file()
    assert config.data.train == (EXAMPLE.parents[1] / "build/conversations.jsonl",)
    assert (config.data.max_length, config.predictor.bins.count, config.optimisation.learning_rate) == (512, 50, 3e-3)
