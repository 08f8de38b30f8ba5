"""Serves a model until it is told to end: the port answers at once, the model is loaded behind it."""

import logging
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

import uvicorn

from lamps_jax.config import EngineConfig
from lamps_jax.engine.build import build_engine
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.tools.tool import Tool

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 10
"""How long running requests may take to end once the server is told to; a second signal ends it at once."""


def serve(directory: Path, config: EngineConfig, tools: Iterable[Tool], *, model_name: str, host: str, port: int) -> None:
    """Serves the model in `directory` under `model_name` until SIGINT or SIGTERM; ``/health`` is 503 until it is loaded.

    Logs one line with the address when it is ready, whatever the level of the root logger.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: If the address cannot be listened on.
        CheckpointError: If the directory does not hold a model that can be run; so for whatever else `build_engine` raises.
    """
    listener = _listen(host, port)
    url = _url(host, listener)
    logging.getLogger("lamps_jax").setLevel(logging.INFO)
    state = ServerState()
    app = create_app(state, model_name=model_name)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, ws="none", lifespan="on", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S
        )
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    failures: list[BaseException] = []

    def show_progress(what: str, done: int, total: int) -> None:
        state.progress = f"{what}, {done} of {total}"
        if server.should_exit:
            raise _ToldToEnd

    def load() -> None:
        try:
            engine = build_engine(directory, config, tools, progress=show_progress)
            if not server.should_exit:
                state.async_engine = AsyncEngine(engine)
                logger.info("%s is ready at %s", model_name, url)
        except _ToldToEnd:
            pass
        except BaseException as error:  # it is raised where the caller can see it
            failures.append(error)
            server.should_exit = True

    logger.info("loading %s; %s/health says when it is ready", model_name, url)
    loader = threading.Thread(target=load, name="loader", daemon=True)
    loader.start()
    try:
        with listener:
            server.run(sockets=[listener])
    finally:  # after SIGINT there is a KeyboardInterrupt
        server.should_exit = True
        loader.join()
        if state.async_engine is not None:  # if it became ready in the very moment of the shutdown
            state.async_engine.stop()
    if failures:
        raise failures[0]


class _ToldToEnd(BaseException):  # not an Exception, lest it be taken for a failure of the loading
    """Raised in the loading thread when there is no use for the model any more."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}; choose another host or port") from error


def _url(host: str, listener: socket.socket) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"
