"""A runner of calls on a clock that stands still."""

import threading
from collections.abc import Callable
from typing import Any

from lamps_jax.engine.api_runner import ApiOutcome, ThreadApiRunner
from tests.engine.helpers import Clock, echo_tool


class Bench:
    """A runner on a fake clock whose calls can be waited for."""

    def __init__(self, **options: Any):
        self.clock, self._returned = Clock(), threading.Semaphore(0)
        self.runner = ThreadApiRunner(clock=self.clock, wake_up=self._returned.release, **options)

    def outcomes(self, count: int) -> dict[str, ApiOutcome]:
        """Outcomes of all calls once `count` more tools have returned."""
        for _ in range(count):
            assert self._returned.acquire(timeout=30), "a tool did not return"
        return {outcome.request_id: outcome for outcome in self.runner.poll()}

    def call(self, function: Callable[..., str], **options: Any) -> ApiOutcome:
        self.runner.start("r", echo_tool(function, **options), {"text": "x"})
        return self.outcomes(1)["r"]
