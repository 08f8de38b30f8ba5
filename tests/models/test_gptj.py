"""GPT-J's configuration is read as it is written, and an impossible one is refused with its value."""

from dataclasses import replace

import pytest

from lamps_jax.models.gptj import GPTJConfig
from tests.factories import gptj_config


def test_config_reads_what_it_writes() -> None:
    config = gptj_config(layer_norm_eps=3e-6)
    assert GPTJConfig.from_hf(config.to_hf(dtype="float32")) == config


def test_inner_size_defaults_to_four_times_the_hidden_size() -> None:
    hf = gptj_config().to_hf(dtype="float32") | {"n_inner": None}
    assert GPTJConfig.from_hf(hf).intermediate_size == 4 * gptj_config().hidden_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be positive, got 0"),
        ({"num_layers": -1}, "num_layers must be positive, got -1"),
        ({"num_heads": 3}, "n_head must divide n_embd, got n_embd 32 and n_head 3"),
        ({"rotary_dim": 7}, "rotary_dim must be even and at most the head size 16, got 7"),
        ({"rotary_dim": 18}, "rotary_dim must be even and at most the head size 16, got 18"),
    ],
)
def test_impossible_shape_is_refused_with_its_value(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(gptj_config(), **changes)


@pytest.mark.parametrize("key", ["vocab_size", "n_embd", "n_layer", "n_head", "n_positions"])
def test_missing_key_is_named(key: str) -> None:
    hf = gptj_config().to_hf(dtype="float32")
    del hf[key]
    with pytest.raises(ValueError, match=f"lacks the key '{key}'"):
        GPTJConfig.from_hf(hf)
