"""Weights and prompts are the same wherever they are made."""

import numpy as np
import pytest

from lamps_jax.doctor.seeded_models import MODELS, VOCAB_SIZE, prompts, seeded_integers, seeded_model, seeded_parameter
from lamps_jax.models.registry import LoadedModel


def test_integers_are_those_of_every_other_machine() -> None:
    assert seeded_integers("a name", 4).tolist() == [847439778, 2931753530, 2014955788, 282323110]


def test_parameters_are_those_of_every_other_machine() -> None:
    matrix = seeded_parameter("gptj-head-64/blocks.0.q_proj.weight", (2, 128))
    assert (1024 * matrix[0, :5]).tolist() == [92.0, 102.0, 8.0, 118.0, -98.0]


def test_parameters_of_different_names_differ() -> None:
    assert not np.array_equal(seeded_parameter("a.weight", (4, 8)), seeded_parameter("b.weight", (4, 8)))


def test_norms_scale_by_about_one_and_biases_shift_by_about_nothing() -> None:
    scale, shift = seeded_parameter("m/norm.weight", (1000,)), seeded_parameter("m/norm.bias", (1000,))
    assert abs(scale.mean() - 1.0) < 0.02 > abs(shift.mean())
    assert 0.1 < scale.std() < 0.2 and 0.1 < shift.std() < 0.2


@pytest.mark.parametrize("fan_in", [64, 96, 512])
def test_signals_neither_vanish_nor_explode(fan_in: int) -> None:
    matrix = seeded_parameter("m.weight", (256, fan_in))
    x = np.random.default_rng(0).standard_normal((64, fan_in))
    assert 0.8 < (x @ matrix.T).std() < 2.5


def weights(model: LoadedModel) -> dict[str, np.ndarray]:
    named = zip(model.parameter_names, model.weights, strict=True)
    return {name: np.asarray(weight).astype(np.float32) for name, weight in named}


def test_model_in_bfloat16_has_exactly_the_weights_of_the_one_in_float32() -> None:
    coarse, fine = (weights(seeded_model("llama-gqa-head-128", dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert coarse.keys() == fine.keys()
    for name, weight in fine.items():
        np.testing.assert_array_equal(coarse[name], weight, err_msg=name)


def test_models_have_the_head_sizes_that_kernels_are_written_for() -> None:
    assert {config.head_dim for config in MODELS.values()} == {64, 128, 256}
    assert any(config.num_kv_heads < config.num_heads for config in MODELS.values())


def test_prompts_are_tokens_of_the_vocabulary_and_shorter_and_longer_than_a_block() -> None:
    texts = prompts()
    assert all(0 <= token < VOCAB_SIZE for text in texts for token in text)
    assert min(map(len, texts)) == 1 < 16 < max(map(len, texts))
