"""Calls of tools as the engine makes them."""

import threading
from typing import Any

from lamps_jax.engine.api_runner import ApiOutcome, ThreadApiRunner
from lamps_jax.tools.tool import Tool


class Caller:
    """Runs calls by a runner on the real clock, until it is stopped."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self.runner = ThreadApiRunner(wake_up=self._woken.set)

    def call(self, tool: Tool, **arguments: Any) -> ApiOutcome:
        """The outcome of one call."""
        self.start("the call", tool, **arguments)
        return self.outcomes(1)["the call"]

    def start(self, request_id: str, tool: Tool, **arguments: Any) -> None:
        self.runner.start(request_id, tool, arguments)

    def outcomes(self, number: int) -> dict[str, ApiOutcome]:
        """Outcomes of so many calls, by request."""
        outcomes: dict[str, ApiOutcome] = {}
        while len(outcomes) < number:
            self._woken.wait(0.02)  # a deadline wakes nobody up
            self._woken.clear()
            outcomes |= {outcome.request_id: outcome for outcome in self.runner.poll()}
        return outcomes

    def result(self, tool: Tool, **arguments: Any) -> str:
        """What a call that succeeds returns."""
        outcome = self.call(tool, **arguments)
        assert not outcome.failed, outcome.result
        return outcome.result

    def error(self, tool: Tool, **arguments: Any) -> str:
        """What the model is told of a call that fails."""
        outcome = self.call(tool, **arguments)
        assert outcome.failed, outcome.result
        return outcome.result
