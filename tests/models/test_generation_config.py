import json
from pathlib import Path

import jax
import pytest

from lamps_jax.models.registry import load_model, random_model
from lamps_jax.models.weights import CheckpointError, save_hf_directory
from tests.factories import gptj_config


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    model = random_model(gptj_config())
    parameters: dict[str, jax.Array] = dict(zip(model.parameter_names, model.weights, strict=True))
    save_hf_directory(tmp_path, model.config, parameters, dtype="float32")
    return tmp_path


@pytest.mark.parametrize(
    ("generation", "temperature"),
    [
        ({"do_sample": False}, 0.0),
        ({}, 0.0),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.6}, 0.6),
    ],
)
def test_the_default_temperature_is_what_the_models_makers_say(
    generation: dict[str, object], temperature: float, directory: Path
) -> None:
    (directory / "generation_config.json").write_text(json.dumps(generation))
    assert load_model(directory).default_temperature == temperature


def test_a_model_without_a_generation_config_samples_as_the_openai_api_does(directory: Path) -> None:
    assert load_model(directory).default_temperature == 1.0


def test_a_broken_generation_config_is_named(directory: Path) -> None:
    (directory / "generation_config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        load_model(directory)
