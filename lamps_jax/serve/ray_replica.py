"""One replica of a deployment under Ray Serve: an engine, and the HTTP application over it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ray import serve  # pyright: ignore[reportMissingImports]
from starlette.types import Message

from lamps_jax.config import EngineConfig
from lamps_jax.engine.build import build_engine, model_directory
from lamps_jax.serve.app import create_app
from lamps_jax.serve.asgi_call import Answer, call_app, whole_answer
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.logs import configure_logging, log_configuration
from lamps_jax.serve.metrics.compilations import CompilationCounter
from lamps_jax.serve.predictors import predictor_named
from lamps_jax.serve.replica_load import load_of
from lamps_jax.serve.server_config import DEFAULT_SERVER, ServerConfig
from lamps_jax.serve.state import ServerState
from lamps_jax.serve.tracing import tracer_for
from lamps_jax.tools.builtin import BUILTIN_TOOLS
from lamps_jax.tools.load import load_tools
from lamps_jax.train_predictor.live import LivePredictor


@dataclass(frozen=True, slots=True)
class Served:
    """What every replica serves. Files are those of its node.

    Attributes:
        model: ``embedded`` or a directory.
        name: Under which clients ask for the model.
        with_builtin_tools: Whether the built-in tools are run.
        tools: Files of other tools that are.
        predictor: As `serve.predictors` names it.
        server: How those who ask are dealt with; limits are those of one replica.
    """

    model: str
    name: str
    config: EngineConfig
    with_builtin_tools: bool = True
    tools: tuple[Path, ...] = ()
    predictor: str = "auto"
    server: ServerConfig = DEFAULT_SERVER


class EngineReplica:
    """Takes requests as soon as it is made: it loads the model first."""

    def __init__(self, served: Served):
        server, directory = served.server, model_directory(served.model)
        self._state = state = ServerState(config=server, tracer=tracer_for(server.otlp_endpoint, model_name=served.name))
        configure_logging(server)
        logging.getLogger("lamps_jax").setLevel(server.log_level.upper())
        log_configuration(str(directory), served.config, server)
        self._app = create_app(state, model_name=served.name)
        compilations = CompilationCounter()
        state.companions += [compilations, *([] if state.tracer is None else [state.tracer])]
        tools = load_tools(served.tools, builtin=BUILTIN_TOOLS if served.with_builtin_tools else ())
        state.companions.append(tools)
        predictor = predictor_named(served.predictor, directory, served.config.scheduler, report=state.metrics.segment_over)
        engine = build_engine(directory, served.config, tools.tools, predictor=predictor)
        if isinstance(engine.scheduler.predictor, LivePredictor):
            state.companions.append(engine.scheduler.predictor)
        state.metrics.attach(engine, compilations)
        self._engine = state.async_engine = AsyncEngine(engine, on_finished=state.recent.request_over)

    async def answer(self, scope: dict[str, Any], body: bytes) -> AsyncGenerator[list[Message], None]:
        """The response to a request, as `call_app` yields it."""
        async for messages in call_app(self._app, scope, body):
            yield messages

    async def whole_answer(self, scope: dict[str, Any], body: bytes) -> tuple[str, Answer]:
        """The name of the replica and its response to a request."""
        return serve.get_replica_context().replica_id.unique_id, await whole_answer(self._app, scope, body)

    async def record_routing_stats(self) -> dict[str, Any]:
        """What routers weigh it by; Ray Serve asks for it and tells them."""
        load = await asyncio.to_thread(self._engine.ask, load_of)
        return asdict(replace(load, takes_requests=self._engine.healthy))

    def check_health(self) -> None:
        """Has Ray Serve put another replica in the place of one whose engine has failed.

        Raises:
            RuntimeError: If it has.
        """
        if self._engine.failure is not None:
            raise RuntimeError(self._engine.failure)

    def __del__(self) -> None:
        """Ray Serve calls this when no more requests are under way, or have had the time to end."""
        self._state.stop()
