"""What the application serves with."""

from dataclasses import dataclass, field
from typing import Protocol

from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.auth import ApiKeys, make_keys
from lamps_jax.serve.metrics import ServerMetrics
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.recent import RecentRequests
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.tracing import Tracer
from lamps_jax.serve.traffic import Traffic


class Companion(Protocol):
    """Something that goes on beside the engine."""

    def stop(self) -> None:
        """Ends it; a second time does nothing."""
        ...


@dataclass(slots=True)
class ServerState:
    """What the application serves with; the engine comes when it has been loaded.

    Attributes:
        progress: What is being done before the engine is there.
        companions: What goes on beside the engine, and is stopped after it.
        config: How those who ask are dealt with.
        tracer: Traces requests that have ended; None for no traces.
        keys: Who may ask.
        traffic: Who asks.
        metrics: What is counted.
        recent: What came of the requests that have ended of late.
    """

    async_engine: AsyncEngine | None = None
    progress: str = "loading"
    companions: list[Companion] = field(default_factory=list)
    config: ServerConfig = field(default_factory=ServerConfig)
    tracer: Tracer | None = None
    keys: ApiKeys = field(init=False)
    traffic: Traffic = field(init=False)
    metrics: ServerMetrics = field(init=False)
    recent: RecentRequests = field(default_factory=RecentRequests)

    def __post_init__(self) -> None:
        self.keys = make_keys(self.config)
        self.traffic = Traffic(max_queue_len=self.config.max_queue_len)
        self.metrics = ServerMetrics(
            lambda: None if self.async_engine is None else self.async_engine.memory_state(), aliases=self.config.metrics_aliases
        )
        self.metrics.http.under_way.set_function(lambda: len(self.traffic.under_way))

    def stop(self) -> None:
        """Stops the engine, if it is there, and what goes on beside it; a second time does nothing."""
        for each in (self.async_engine, *self.companions):
            if each is not None:
                each.stop()

    def engine(self) -> AsyncEngine:
        """The engine, able to take requests.

        Raises:
            RequestError: If it is not there yet, or no more.
        """
        if self.async_engine is None:
            raise RequestError(f"the model is not ready: {self.progress}; try again soon", status=503, code="loading")
        if self.async_engine.failure is not None:
            raise RequestError(self.async_engine.failure, status=503, code="engine_unavailable")
        return self.async_engine
