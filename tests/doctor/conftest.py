"""One narrow model in place of the seeded ones, so that computing its logits takes seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from lamps_jax.doctor import reference, seeded_models
from lamps_jax.doctor.logits import PromptLogits, prompt_logits
from lamps_jax.doctor.seeded_models import VOCAB_SIZE
from tests.factories import gptj_config

TINY = "gptj-tiny"

Computed: TypeAlias = dict[tuple[str, str], list[PromptLogits]]
"""By model and type."""


@contextmanager
def tiny_models_only() -> Iterator[None]:
    """A context in which the seeded models are the one narrow model."""
    models = {TINY: gptj_config(vocab_size=VOCAB_SIZE)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeded_models, "MODELS", models)
        patch.setattr(reference, "MODELS", models)
        yield


@pytest.fixture
def tiny_models() -> Iterator[None]:
    with tiny_models_only():
        yield


@pytest.fixture(scope="session")
def computed() -> Computed:
    """What the narrow model says in each stored type."""
    with tiny_models_only():
        return {
            (TINY, variant.dtype): prompt_logits(TINY, dtype=variant.dtype, precise=variant.precise)
            for variant in reference.STORED
        }


@pytest.fixture
def stored(tmp_path: Path, tiny_models: None, computed: Computed) -> Path:
    """A reference file of the narrow model."""
    path = tmp_path / "here.safetensors"
    reference.write_reference(path, computed)
    return path
