import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import OPTConfig as TheirConfig
from transformers import OPTForCausalLM, OPTForSequenceClassification

from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.weights import CheckpointError, abstract_parameters, bind, initial_parameters
from lamps_jax.train_predictor.lengths import Bins
from lamps_jax.train_predictor.model import (
    HEAD,
    LengthClassifier,
    begin,
    is_dropout_key,
    load_classifier,
    merged,
    read_opt_config,
    save_classifier,
    with_lora,
)

NUM_BINS = 7
SHAPES = {
    "125m": {},
    "350m": {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
}


def their_config(**changes: object) -> TheirConfig:
    return TheirConfig(
        **{
            "vocab_size": 90,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "max_position_embeddings": 40,
            "word_embed_proj_dim": 32,
            "num_labels": NUM_BINS,
            "pad_token_id": 1,
            **changes,
        }  # pyright: ignore[reportArgumentType]
    )


def scores_of(config: OPTConfig, parameters: dict[str, jax.Array], token_ids: Any, valid: Any) -> np.ndarray:
    graph, _ = abstract_parameters(lambda: LengthClassifier(config, NUM_BINS, rngs=nnx.Rngs(0)))
    return np.asarray(bind(graph, parameters)(jnp.asarray(token_ids), jnp.asarray(valid)))


@pytest.fixture(params=SHAPES)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, OPTForSequenceClassification]:
    torch.manual_seed(0)
    model = OPTForSequenceClassification(their_config(**SHAPES[request.param])).eval()
    for parameter in model.parameters():  # norms and biases too
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    return tmp_path, model


@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_are_those_of_transformers_wherever_the_padding_is(
    theirs: tuple[Path, OPTForSequenceClassification], side: str
) -> None:
    directory, model = theirs
    config = read_opt_config(directory)
    parameters = load_classifier(directory, config, NUM_BINS)
    rng = np.random.default_rng(0)
    token_ids, valid = np.ones((3, 11), np.int32), np.zeros((3, 11), bool)
    for row, length in enumerate((11, 4, 7)):
        place = slice(11 - length, None) if side == "left" else slice(0, length)
        token_ids[row, place], valid[row, place] = rng.integers(2, 90, length), True
    ours = scores_of(config, parameters, token_ids, valid)
    with torch.no_grad():
        wanted = model(torch.tensor(token_ids.astype(np.int64)), attention_mask=torch.tensor(valid)).logits.numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_what_is_saved_is_read_by_transformers(tmp_path: Path) -> None:
    config = OPTConfig(90, 32, 2, 4, 48, 40, 32)
    parameters = begin(config, NUM_BINS, seed=3)
    save_classifier(tmp_path, config, Bins(10, NUM_BINS), parameters, dtype=jnp.float32)
    model = OPTForSequenceClassification.from_pretrained(tmp_path).eval()
    assert model.config.id2label[2] == "20+"
    token_ids = np.arange(2, 12, dtype=np.int32)[None]
    with torch.no_grad():
        wanted = model(torch.tensor(token_ids.astype(np.int64))).logits.numpy()
    np.testing.assert_allclose(scores_of(config, parameters, token_ids, np.ones((1, 10), bool)), wanted, atol=1e-4)
    assert sorted(load_classifier(tmp_path, config, NUM_BINS)) == sorted(parameters)


def test_a_body_comes_from_a_language_model_and_the_head_is_new(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = OPTForCausalLM(their_config())
    model.save_pretrained(tmp_path)
    parameters = begin(read_opt_config(tmp_path), NUM_BINS, seed=0, body_from=tmp_path)
    theirs = model.state_dict()["model.decoder.layers.1.fc1.weight"].numpy()
    np.testing.assert_array_equal(parameters["body.blocks.1.fc_in.weight"], theirs)
    assert parameters[HEAD].shape == (NUM_BINS, 32)
    assert float(jnp.abs(parameters[HEAD]).max()) > 0


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(CheckpointError, match=r"is a LlamaForCausalLM; a length predictor begins with OPTForSequence"):
        read_opt_config(tmp_path)


def test_another_number_of_bins_is_refused(tmp_path: Path) -> None:
    config = OPTConfig(90, 32, 2, 4, 48, 40, 32)
    save_classifier(tmp_path, config, Bins(10, NUM_BINS), begin(config, NUM_BINS, seed=3), dtype=jnp.float32)
    with pytest.raises(CheckpointError, match=r"score.weight is \[7, 32\], not \[9, 32\]"):
        load_classifier(tmp_path, config, 9)


CONFIG = OPTConfig(90, 32, 2, 4, 48, 40, 32)


def lora(dropout: float) -> LengthClassifier:
    rngs = nnx.Rngs(5)
    return with_lora(
        LengthClassifier(CONFIG, NUM_BINS, rngs=rngs), rank=4, alpha=8.0, dropout=dropout, dtype=jnp.float32, rngs=rngs
    )


def test_lora_begins_as_the_model_that_it_adapts() -> None:
    graph, parameters = initial_parameters(lambda: lora(0.0))
    token_ids, valid = jnp.arange(2, 14, dtype=jnp.int32).reshape(2, 6), jnp.ones((2, 6), bool)
    adapted = bind(graph, parameters)(token_ids, valid)
    np.testing.assert_allclose(adapted, scores_of(CONFIG, merged(parameters, factor=2.0), token_ids, valid), atol=1e-6)
    assert not any(float(jnp.abs(value).max()) for name, value in parameters.items() if name.endswith("lora_b"))


def test_merged_weights_compute_what_lora_does() -> None:
    graph, parameters = initial_parameters(lambda: lora(0.0))
    key = jax.random.key(0)
    parameters |= {
        name: 0.3 * jax.random.normal(jax.random.fold_in(key, place), value.shape)
        for place, (name, value) in enumerate(parameters.items())
        if name.endswith(("lora_a", "lora_b"))
    }
    token_ids, valid = jnp.arange(2, 14, dtype=jnp.int32).reshape(2, 6), jnp.ones((2, 6), bool)
    plain = merged(parameters, factor=2.0)
    np.testing.assert_allclose(bind(graph, parameters)(token_ids, valid), scores_of(CONFIG, plain, token_ids, valid), atol=1e-5)
    base = {name: value for name, value in parameters.items() if "lora" not in name and not is_dropout_key(name)}
    assert np.abs(scores_of(CONFIG, base, token_ids, valid) - scores_of(CONFIG, plain, token_ids, valid)).max() > 1e-3


def test_dropout_follows_its_key_alone() -> None:
    graph, parameters = initial_parameters(lambda: lora(0.5))
    parameters |= {name: jnp.ones_like(value) for name, value in parameters.items() if name.endswith("lora_b")}
    token_ids, valid = jnp.arange(2, 14, dtype=jnp.int32).reshape(2, 6), jnp.ones((2, 6), bool)

    def scores(seed: int) -> np.ndarray:
        keys = {name: jax.random.key_data(jax.random.key(seed)) for name in parameters if is_dropout_key(name)}
        return np.asarray(bind(graph, {**parameters, **keys})(token_ids, valid))

    np.testing.assert_array_equal(scores(1), scores(1))
    assert np.abs(scores(1) - scores(2)).max() > 1e-4
