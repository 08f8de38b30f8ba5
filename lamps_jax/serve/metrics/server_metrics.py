"""All that the server counts, in one place."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event
from lamps_jax.serve.account import Account
from lamps_jax.serve.metrics.aliases import ALIASES, Counted
from lamps_jax.serve.metrics.blocks import BlockMetrics
from lamps_jax.serve.metrics.calls import CallMetrics
from lamps_jax.serve.metrics.compilations import CompilationCounter
from lamps_jax.serve.metrics.engine_state import EngineState, State
from lamps_jax.serve.metrics.http import HttpMetrics
from lamps_jax.serve.metrics.requests import RequestMetrics
from lamps_jax.serve.metrics.steps import StepMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServerMetrics:
    """Counts what the server does.

    Args:
        state: Asked whenever somebody looks.
        aliases: Whose names are told too: ``vllm``, ``sglang``.

    Attributes:
        model_name: Under which the model is served.
        http: Of HTTP requests.
    """

    def __init__(self, state: State = lambda: None, *, aliases: Sequence[str] = ("vllm",)):
        self.model_name = ""
        self._registry = CollectorRegistry()
        self._state = EngineState(state)
        self._registry.register(self._state)
        self._requests = RequestMetrics(self._registry)
        self._calls = CallMetrics(self._registry)
        self._steps = StepMetrics(self._registry)
        self._blocks = BlockMetrics(self._registry)
        self.http = HttpMetrics(self._registry)
        counted = Counted(self._requests, self._steps, self._blocks, self._state)
        for alias in aliases:
            self._registry.register(ALIASES[alias](counted, model_name=lambda: self.model_name))

    def attach(self, engine: Engine, compilations: CompilationCounter | None = None) -> None:
        """Follows the steps of an engine that has not begun, and says what it is."""
        self._state.attach(engine, compilations)
        self._calls.tool_names.own(engine.tools)
        self._steps.attach(engine.scheduler)
        engine.scheduler.blocks.device.watcher = self._blocks
        engine.on_step = self._steps.stepped

    def segment_over(self, predicted_tokens: float, actual_tokens: int) -> None:
        """Counts a segment of whose length something was predicted."""
        self._calls.segment_over(predicted_tokens, actual_tokens)

    def heard(self, event: Event) -> None:
        """Counts what has become of a request of the model; on the engine's thread."""
        self._requests.heard(event)
        self._calls.heard(event)
        self._steps.heard(event)

    def request_over(self, account: Account) -> None:
        """Counts an HTTP request whose answer has ended."""
        self.http.request_over(account)
        self._requests.prompts_over(account.outputs)

    def text(self) -> bytes:
        """Everything, as ``/metrics`` shows it."""
        return generate_latest(self._registry)
