"""What stands around every request: its id, its account, whether it may come in at all, and the report of it at the end."""

from collections.abc import Callable

from fastapi import FastAPI

from lamps_jax.serve.account import Account
from lamps_jax.serve.account_middleware import AccountMiddleware
from lamps_jax.serve.auth import AuthMiddleware
from lamps_jax.serve.connection import RequestIdMiddleware
from lamps_jax.serve.limits import LimitsMiddleware
from lamps_jax.serve.logs import log_access
from lamps_jax.serve.origins import OriginMiddleware, add_cors
from lamps_jax.serve.shutdown import DrainMiddleware
from lamps_jax.serve.state import ServerState


def add_operations(app: FastAPI, state: ServerState, *, model_name: str) -> None:
    """Puts it around an application that has all its routes, as the state's configuration says."""
    state.metrics.model_name = model_name
    reports: list[Callable[[Account], None]] = [log_access, state.metrics.request_over]
    if state.tracer is not None:
        reports.append(state.tracer.report)

    def num_free_places() -> int:
        return 0 if state.async_engine is None else state.async_engine.num_free_places

    config, traffic = state.config, state.traffic
    # The one that is added last hears of a request first.
    app.add_middleware(LimitsMiddleware, config=config, traffic=traffic, num_free_places=num_free_places)
    app.add_middleware(AuthMiddleware, keys=state.keys, metrics_key=config.metrics_key)
    app.add_middleware(OriginMiddleware, allowed=config.allowed_origins, has_keys=bool(state.keys))
    app.add_middleware(DrainMiddleware, traffic=traffic)
    app.add_middleware(AccountMiddleware, config=config, traffic=traffic, listener=state.metrics, report=reports)
    add_cors(app, config.allowed_origins)
    app.add_middleware(RequestIdMiddleware)
