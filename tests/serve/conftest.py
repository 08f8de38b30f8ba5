"""Engines for the server's tests; each is proven to be empty and its books to balance when its test ends."""

from collections.abc import Callable, Iterator

import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.async_engine import AsyncEngine
from tests.fakes import wait_until


@pytest.fixture
def start() -> Iterator[Callable[[Engine], AsyncEngine]]:
    """Starts an engine on its thread."""
    started: list[tuple[Engine, AsyncEngine]] = []

    def start_one(engine: Engine) -> AsyncEngine:
        async_engine = AsyncEngine(engine)
        started.append((engine, async_engine))
        return async_engine

    yield start_one
    for engine, async_engine in started:
        wait_until(lambda engine=engine: engine.num_unfinished == 0)
        async_engine.stop()
        engine.scheduler.check()
        engine.scheduler.release_kept()
        engine.scheduler.check()
        assert engine.scheduler.blocks.num_free_blocks == engine.scheduler.blocks.num_blocks - 1
