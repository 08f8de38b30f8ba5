"""The HTTP application, put together: the OpenAI API, the page, and what concerns every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import lamps_jax
from lamps_jax.serve.errors import add_error_handlers
from lamps_jax.serve.live_routes import live_routes
from lamps_jax.serve.operations import add_operations
from lamps_jax.serve.page import add_page
from lamps_jax.serve.routes import api_routes
from lamps_jax.serve.state import ServerState


def create_app(state: ServerState, *, model_name: str) -> FastAPI:
    """The application that serves `state` under `model_name`, and stops it when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(state.stop)

    app = FastAPI(
        title="lamps-jax", version=lamps_jax.__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    add_error_handlers(app)
    app.include_router(api_routes(state, model_name=model_name))
    app.include_router(live_routes(state, model_name=model_name))
    add_page(app)
    add_operations(app, state, model_name=model_name)
    return app
