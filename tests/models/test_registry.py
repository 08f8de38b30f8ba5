"""A Hugging Face directory becomes a model, or an error that says what is wrong with it and what to do."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from lamps_jax.models.registry import load_model, random_model
from lamps_jax.models.weights import CheckpointError, save_hf_directory
from tests.factories import gptj_config, save_torch_gptj

CONFIG = gptj_config()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory, model = tmp_path_factory.mktemp("saved"), random_model(CONFIG)
    save_hf_directory(directory, CONFIG, dict(zip(model.parameter_names, model.weights, strict=True)), dtype=jnp.float32)
    return directory


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def test_model_that_pytorch_saved_is_loaded_whole(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path, CONFIG)
    model, saved = load_model(tmp_path), load_file(tmp_path / "model.safetensors")
    assert model.config == CONFIG
    assert model.name == tmp_path.name
    assert model.eos_token_ids == (0,)
    assert model.weight_bytes == sum(tensor.nbytes for tensor in saved.values())
    assert len(model.weights) == len(model.parameter_names) == len(saved)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_matrices_have_the_type_asked_for_and_norms_and_biases_stay_float32(directory: Path, dtype: str) -> None:
    model = load_model(directory, dtype=dtype)
    for name, weight in zip(model.parameter_names, model.weights, strict=True):
        assert weight.dtype == (dtype if weight.ndim == 2 else "float32"), name


def test_random_model_is_fixed_by_its_seed() -> None:
    once, again, other = (random_model(gptj_config(num_layers=1), seed=seed) for seed in (1, 1, 2))
    index = once.parameter_names.index("blocks.0.q_proj.weight")
    np.testing.assert_array_equal(once.weights[index], again.weights[index])
    assert not np.array_equal(once.weights[index], other.weights[index])


@pytest.mark.parametrize(("eos", "expected"), [(7, (7,)), ([7, 9], (7, 9)), (None, ()), (..., ())])
def test_end_of_text_tokens_are_one_many_or_none(directory: Path, eos: Any, expected: tuple[int, ...]) -> None:
    edit_config(directory, eos_token_id=eos)
    assert load_model(directory).eos_token_ids == expected


def test_missing_directory_is_named_with_what_to_give_instead(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"directory .*/nowhere does not exist; give 'embedded' or a Hugging Face directory"
    ):
        load_model(tmp_path / "nowhere")


def test_file_in_place_of_a_directory_is_refused(directory: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(directory / "config.json")


def test_directory_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path} has no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"cannot read .*config\.json: .*line 1"),
        (b"", r"cannot read .*config\.json"),
        (b"\xff\xfe", r"cannot read .*config\.json"),
        (b"[1]", r"config\.json does not hold a JSON object"),
    ],
)
def test_config_that_is_no_json_object_is_refused(directory: Path, content: bytes, message: str) -> None:
    (directory / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_model(directory)


@pytest.mark.parametrize(
    ("architectures", "named"), [(["MambaForCausalLM"], "MambaForCausalLM"), ([], "none"), (None, "none"), (..., "none")]
)
def test_unknown_architecture_is_named_beside_the_known_ones(directory: Path, architectures: Any, named: str) -> None:
    edit_config(directory, architectures=architectures)
    with pytest.raises(CheckpointError, match=f"is a {named}; known architectures are GPTJForCausalLM, LlamaForCausalLM, "):
        load_model(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, "activation_function 'relu' is not supported; 'gelu_new' is"),
        ({"tie_word_embeddings": True}, "tied word embeddings"),
        ({"n_embd": ...}, "lacks the key 'n_embd'"),
        ({"n_layer": None}, "NoneType"),
        ({"n_layer": "many"}, "'many'"),
        ({"n_head": 5}, "n_head must divide n_embd, got n_embd 32 and n_head 5"),
        ({"n_head": 0}, "num_heads must be positive, got 0"),
        ({"n_head": 0, "rotary_dim": ...}, "num_heads must be positive, got 0"),
        ({"rotary_dim": 64}, "at most the head size 16, got 64"),
    ],
)
def test_config_that_is_no_gptj_of_ours_is_refused_with_file_and_value(
    directory: Path, changes: dict[str, Any], message: str
) -> None:
    edit_config(directory, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        load_model(directory)


def test_weights_of_another_model_are_refused(directory: Path) -> None:
    edit_config(directory, n_layer=3, vocab_size=100)
    with pytest.raises(CheckpointError, match=r"missing: transformer\.h\.2\..*of another shape: .*is \[96.*, not \[100"):
        load_model(directory)
