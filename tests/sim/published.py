"""Published traces that lie beside the repository, where there are any."""

from functools import lru_cache
from pathlib import Path

import pytest

import lamps_jax
from lamps_jax.sim.traces.read import read_trace
from lamps_jax.sim.workload import Workload

FOLDER = Path(lamps_jax.__file__).parents[1].parent / "shared" / "data"


def published(name: str) -> Path:
    """Path of a trace; the test is skipped where it is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"the published trace {name} is not at {path.parent}")
    return path


@lru_cache
def read_published(name: str) -> Workload:
    """The trace as a workload, read once."""
    return read_trace(published(name))
