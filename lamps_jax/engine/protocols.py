"""What the loop works with: who computes, who runs tools, and what time it is. Server and simulator differ in these."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.engine.control import Control
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.tools.tool import Tool

Clock = Callable[[], float]
"""Seconds since some fixed moment."""

StepSink = Callable[[StepPlan, float], None]
"""Takes each plan as it is submitted, and the seconds since the one before it was; 0 if nothing was under way."""


class Executor(Protocol):
    """Runs plans in the order in which they are submitted."""

    def submit(self, plan: StepPlan) -> Any:
        """Starts a step; returns what `collect` takes."""
        ...

    def choose(self, handle: Any, controls: Sequence[Control]) -> Any:
        """Has some tokens of the step that was submitted last chosen as `controls` say; returns the step's new handle."""
        ...

    def collect(self, handle: Any) -> StepResult:
        """Waits for the step's samples."""
        ...


class ApiRunner(Protocol):
    """Runs tools while the loop goes on; each call once."""

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        """Begins a call."""
        ...

    def poll(self) -> list[ApiOutcome]:
        """Calls that ended since the last poll."""
        ...

    def cancel(self, request_id: str) -> None:
        """Forgets the calls of a request."""
        ...

    def next_deadline_s(self) -> float | None:
        """When `poll` will have something to say even if no tool returns."""
        ...
