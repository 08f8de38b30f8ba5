"""One narrow model in place of the seeded ones, so that computing its logits takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamps_jax.doctor import seeded_models
from lamps_jax.doctor.logits import PromptLogits, prompt_logits
from lamps_jax.doctor.reference import STORED, write_reference
from lamps_jax.doctor.seeded_models import VOCAB_SIZE
from tests.factories import gptj_config

TINY = "gptj-tiny"


@pytest.fixture(scope="session")
def tiny_models() -> Iterator[None]:
    models = {TINY: gptj_config(vocab_size=VOCAB_SIZE)}
    with pytest.MonkeyPatch.context() as patch:
        for module in ("seeded_models", "reference"):
            patch.setattr(f"lamps_jax.doctor.{module}.MODELS", models)
        assert models is seeded_models.MODELS
        yield


@pytest.fixture(scope="session")
def computed(tiny_models: None) -> dict[tuple[str, str], list[PromptLogits]]:
    """What the tiny model says in each stored type."""
    return {(TINY, variant.dtype): prompt_logits(TINY, dtype=variant.dtype, precise=variant.precise) for variant in STORED}


@pytest.fixture
def stored(tmp_path: Path, computed: dict[tuple[str, str], list[PromptLogits]]) -> Path:
    """A reference file of the tiny model."""
    path = tmp_path / "here.safetensors"
    write_reference(path, computed)
    return path
