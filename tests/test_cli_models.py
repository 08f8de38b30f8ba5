"""The command line with models of one's own: what it makes of them, and of directories that hold something else."""

import json
import os
import shutil
from pathlib import Path

import pytest
from transformers import LlamaConfig, OPTConfig

from tests.factories import save_tiny_tokenizer
from tests.models.torch_pair import save_torch
from tests.test_cli import run

LLAMA = LlamaConfig(
    vocab_size=288, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=64,
    bos_token_id=0, eos_token_id=0, pad_token_id=0,
)  # fmt: skip
OPT = OPTConfig(
    vocab_size=288, hidden_size=32, ffn_dim=48, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=64,
    word_embed_proj_dim=32, bos_token_id=0, eos_token_id=0, pad_token_id=0,
)  # fmt: skip
QUICK = ("--raw", "--max-tokens", "6", "--ignore-eos", "--max-model-len", "64", "--compile-cache", "", "--json", "--no-tools")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, config in (("llama", LLAMA), ("opt", OPT)):
        save_torch(root / name, config)
        save_tiny_tokenizer(root / name)
    return root


@pytest.fixture
def llama(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "llama", tmp_path / "llama"))


def error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert printed.out == ""
    return printed.err


def token_ids(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[int]:
    capsys.readouterr()
    assert run(monkeypatch, "generate", "ab cd", *arguments, *QUICK) == 0
    return json.loads(capsys.readouterr().out)["token_ids"]


def test_a_directory_without_a_configuration_is_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (llama / "config.json").unlink()
    assert "has no config.json" in error(monkeypatch, capsys, "generate", "hi", "--model", str(llama))


def test_a_truncated_file_of_weights_is_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = llama / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)
    assert str(weights) in error(monkeypatch, capsys, "generate", "hi", "--model", str(llama))


def test_weights_of_another_architecture_are_refused(
    llama: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(models / "opt" / "model.safetensors", llama / "model.safetensors")
    said = error(monkeypatch, capsys, "generate", "hi", "--model", str(llama))
    assert "missing" in said and "not part of this model" in said


def test_a_tokenizer_of_another_model_is_refused(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_tokenizer(llama, extra_tokens=[f"<extra {number}>" for number in range(40)])
    said = error(monkeypatch, capsys, "generate", "hi", "--model", str(llama))
    assert "has 297 tokens, the model 288" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tensor-parallel", "4"), "only 1 cpu device"),
        (("--tensor-parallel", "3"), "valid sizes for it are 1, 2, 4"),
        (("--quantize", "int3"), "'int3'"),
        (("--load-format", "gguf"), "'gguf'"),
        (("--dtype", "float8"), "'float8'"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(
    options: tuple[str, ...], said: str, llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in error(monkeypatch, capsys, "generate", "hi", "--model", str(llama), *options)


@pytest.mark.slow
def test_a_converted_model_says_what_its_source_says(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "convert", str(llama), str(llama.parent / "converted")) == 0
    assert "wrote" in capsys.readouterr().err
    source, converted = (
        token_ids(monkeypatch, capsys, "--model", str(directory)) for directory in (llama, llama.parent / "converted")
    )
    assert source == converted and len(source) == 6


def test_a_conversion_does_not_overwrite(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "exists already; remove it" in error(monkeypatch, capsys, "convert", str(llama), str(llama))


@pytest.mark.slow
def test_random_weights_need_a_configuration_and_a_tokenizer_only(
    llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (llama / "model.safetensors").unlink()
    assert len(token_ids(monkeypatch, capsys, "--model", str(llama), "--load-format", "dummy", "--quantize", "int8")) == 6
