"""Weights come back as they were saved, and a file that does not fit is refused with every tensor that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import load_file, save_file
from transformers import GPTJForCausalLM

from lamps_jax.models.gptj import GPTJ, HF_BUFFERS, HF_NAMES
from lamps_jax.models.weights import (
    CheckpointError,
    Parameters,
    abstract_parameters,
    bind,
    hf_names,
    initial_parameters,
    load_hf_weights,
    save_hf_directory,
)
from tests.factories import gptj_config, save_torch_gptj

CONFIG = gptj_config()


def build() -> GPTJ:
    return GPTJ(CONFIG, rngs=nnx.Rngs(3))


def load(directory: Path, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Parameters:
    abstract = abstract_parameters(build)[1]
    names = hf_names(HF_NAMES, abstract, CONFIG.num_layers)
    return load_hf_weights(directory, abstract, names, ignored=HF_BUFFERS, progress=progress)


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return initial_parameters(build)[1]


@pytest.fixture
def saved(parameters: Parameters, tmp_path: Path) -> Path:
    save_hf_directory(tmp_path, CONFIG, parameters, dtype=jnp.float32)
    return tmp_path


def edit(directory: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_parameters_survive_saving_and_loading(saved: Path, parameters: Parameters) -> None:
    loaded = load(saved)
    assert list(loaded) == list(parameters)
    for name, value in parameters.items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def test_abstract_parameters_are_the_shapes_of_the_initial_ones() -> None:
    graph, parameters = initial_parameters(build)
    abstract_graph, abstract = abstract_parameters(build)
    assert graph == abstract_graph
    assert {name: (x.shape, x.dtype) for name, x in parameters.items()} == {
        name: (x.shape, x.dtype) for name, x in abstract.items()
    }


def test_bound_model_has_the_parameters_given_to_it() -> None:
    graph, parameters = initial_parameters(build)
    bound = bind(graph, {name: value + 1 for name, value in parameters.items()})
    np.testing.assert_array_equal(bound.blocks[1].q_proj.weight[...], parameters["blocks.1.q_proj.weight"] + 1)


def test_every_parameter_has_one_name_of_its_own_in_a_checkpoint() -> None:
    names = hf_names(HF_NAMES, abstract_parameters(build)[1], CONFIG.num_layers)
    assert set(names) == set(abstract_parameters(build)[1])
    assert len(set(names.values())) == len(names)


def test_transformers_reads_what_we_save(saved: Path, parameters: Parameters) -> None:
    model, report = GPTJForCausalLM.from_pretrained(saved, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs = dict(model.named_parameters())
    for name, value in parameters.items():
        np.testing.assert_array_equal(theirs[hf_names(HF_NAMES, parameters, 2)[name]].detach().numpy(), value, err_msg=name)


def test_bfloat16_checkpoint_keeps_its_bits(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path, CONFIG).to(torch.bfloat16).save_pretrained(tmp_path)
    theirs = GPTJForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).lm_head.weight.detach().float().numpy()
    np.testing.assert_array_equal(load(tmp_path)["output.weight"], theirs)


def test_shards_give_what_one_file_gives(tmp_path: Path) -> None:
    model = save_torch_gptj(tmp_path / "whole", CONFIG)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    whole, shards = load(tmp_path / "whole"), load(tmp_path / "shards")
    assert list(whole) == list(shards)
    for name in whole:
        np.testing.assert_array_equal(whole[name], shards[name], err_msg=name)


def test_progress_counts_every_tensor(saved: Path) -> None:
    seen: list[tuple[int, int]] = []
    total = len(load(saved, progress=lambda done, total: seen.append((done, total))))
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_buffers_of_old_checkpoints_are_passed_over(saved: Path) -> None:
    edit(saved, lambda tensors: tensors.update({f"transformer.h.0{end}": np.zeros(1, np.float32) for end in HF_BUFFERS}))
    load(saved)


def test_all_that_does_not_fit_is_named_in_one_error(saved: Path) -> None:
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        del tensors["transformer.h.1.attn.k_proj.weight"], tensors["lm_head.bias"]
        tensors["transformer.h.0.attn.k_proj.bias"] = tensors["transformer.h.2.ln_1.bias"] = np.zeros(3, np.float32)
        tensors["transformer.wte.weight"] = np.zeros((5, 32), np.float32)
        tensors["transformer.ln_f.weight"] = np.zeros((32, 1), np.float32)

    edit(saved, spoil)
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    message = str(caught.value)
    assert str(saved) in message
    assert "missing: lm_head.bias, transformer.h.1.attn.k_proj.weight;" in message
    assert "not part of this model: transformer.h.0.attn.k_proj.bias, transformer.h.2.ln_1.bias;" in message
    assert "transformer.ln_f.weight is [32, 1], not [32]" in message
    assert "transformer.wte.weight is [5, 32], not [96, 32]" in message


@pytest.mark.parametrize("kept_bytes", [0, 5, 200, -100])
def test_truncated_file_is_named_with_the_question_whether_it_is_complete(saved: Path, kept_bytes: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors: .*; is the file complete\?"):
        load(saved)


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights not found: .*model\.safetensors; lamps-jax reads safetensors files"):
        load(saved)


def test_absent_shards_are_all_named(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path, CONFIG, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    shards[0].unlink()
    shards[2].unlink()
    with pytest.raises(CheckpointError, match=rf"weights not found: .*{shards[0].name}, .*{shards[2].name};"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"weight_map": [1]})])
def test_broken_index_is_named(saved: Path, text: str) -> None:
    (saved / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors\.index\.json"):
        load(saved)
