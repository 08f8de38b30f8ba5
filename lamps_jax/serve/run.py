"""Serves a model until it is told to end: the port answers at once, the model is loaded behind it."""

import copy
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from lamps_jax.config import EngineConfig
from lamps_jax.engine.build import Progress, build_engine
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.history_file import History, HistoryFile, HistoryKeeper, history_of, restore
from lamps_jax.serve.app import create_app
from lamps_jax.serve.async_engine import AsyncEngine, EngineUnavailable
from lamps_jax.serve.http_protocol import TimelyProtocol
from lamps_jax.serve.logs import log_configuration
from lamps_jax.serve.metrics.compilations import CompilationCounter
from lamps_jax.serve.predictors import predictor_named
from lamps_jax.serve.record import LineFile, RecordConfig, Recorder
from lamps_jax.serve.server_config import DEFAULT_SERVER, ServerConfig
from lamps_jax.serve.shutdown import DrainingServer
from lamps_jax.serve.state import ServerState
from lamps_jax.serve.tracing import tracer_for
from lamps_jax.tools.tool import Tool
from lamps_jax.train_predictor.live import LivePredictor

logger = logging.getLogger(__name__)

announcer = logging.getLogger("lamps_jax.address")
"""Says where the server listens, at whatever level the rest is logged: with port 0 nobody could know it otherwise."""

MAX_HEAD_BYTES = 64 * 2**10
"""A request whose head is longer is refused."""

GOODBYE_S = 3
"""How long connections may take to close once there is nothing left to say."""


def serve(
    directory: Path,
    config: EngineConfig,
    tools: Iterable[Tool],
    *,
    model_name: str,
    host: str,
    port: int,
    predictor: str = "auto",
    history: Path | None = None,
    record: RecordConfig | None = None,
    server: ServerConfig = DEFAULT_SERVER,
) -> None:
    """Serves the model in `directory` under `model_name` until SIGINT or SIGTERM; ``/health`` is 503 until it is loaded.

    At the signal nothing new is taken, and what is under way has the time to end that `server` gives it; at a second one it has
    none.

    Logs one line with the address as it begins to listen, whatever is logged otherwise, and one when it is ready.

    Args:
        port: 0 takes a free one.
        predictor: Who says what requests will do, as `serve.predictors` names it.
        history: Keeps what is learned of calls and requests from one run to the next; None forgets it.
        record: Where to record what requests did; None does not.
        server: How those who ask are dealt with.

    Raises:
        OSError: If the address cannot be listened on, or a file not be read or written.
        ValueError: If `history` or `record` is a file that this version should leave alone, there is no key in the file of keys,
            or traces are wanted without OpenTelemetry.
        EngineUnavailable: If the engine has failed, and that is to end the server.
        KeyboardInterrupt: When SIGINT has ended it.
        CheckpointError: If the directory does not hold a model that can be run; so for whatever else `build_engine` raises.
    """
    with closing(_Kept(history, record)) as kept, _listen(host, port) as listener:
        state = ServerState(config=server, tracer=tracer_for(server.otlp_endpoint, model_name=model_name))
        app = create_app(state, model_name=model_name)
        compilations = CompilationCounter()
        state.companions += [compilations, *([] if state.tracer is None else [state.tracer])]

        def load(progress: Progress) -> AsyncEngine:
            asked = predictor_named(predictor, directory, config.scheduler, report=state.metrics.segment_over, progress=progress)
            engine = build_engine(directory, config, tools, predictor=asked, progress=progress)
            if isinstance(engine.scheduler.predictor, LivePredictor):
                state.companions.append(engine.scheduler.predictor)
            state.metrics.attach(engine, compilations)
            return kept.begin(engine, state)

        logging.getLogger("lamps_jax").setLevel(server.log_level.upper())
        announcer.setLevel(logging.INFO)
        log_configuration(str(directory), config, server)
        _run(app, state, listener, load, name=model_name, url=_url(host, listener))


class _Kept:
    """What one run keeps for the next, or for others: what it learned, and the record of its requests."""

    def __init__(self, history: Path | None, record: RecordConfig | None):
        self._file = None if history is None else HistoryFile(history)
        self._learned = History() if self._file is None else self._file.read()
        self._record, self._lines = record, None if record is None else LineFile(record)

    def begin(self, engine: Engine, state: ServerState) -> AsyncEngine:
        """Starts an engine that knows what was learned before it, and adds what keeps its files to the state's companions."""
        restore(engine.scheduler, self._learned)
        heard: list[Callable[..., None]] = [state.recent.request_over]
        if self._lines is not None and self._record is not None:
            tokenizer = copy.deepcopy(engine.tokenizer) if self._record.with_prompts else None
            recorder = Recorder(self._lines, tokenizer=tokenizer)
            state.companions.append(recorder)
            heard.append(recorder.take)
        async_engine = AsyncEngine(engine, on_finished=lambda prompt, output: [hear(prompt, output) for hear in heard])
        if self._file is not None:
            take = partial(async_engine.ask, lambda engine: history_of(engine.scheduler))
            state.companions.append(HistoryKeeper(self._file, take))
        return async_engine

    def close(self) -> None:
        """Gives the record's file back."""
        if self._lines is not None:
            self._lines.close()


def _run(
    app: FastAPI, state: ServerState, listener: socket.socket, load: Callable[[Progress], AsyncEngine], *, name: str, url: str
) -> None:
    """Answers on `listener` until told to end, meanwhile loads the engine, and raises what the loading raises."""
    server = _server(app, state)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    failures: list[BaseException] = []

    def show_progress(what: str, done: int, total: int) -> None:
        state.progress = f"{what}, {done} of {total}"
        if server.should_exit or state.traffic.is_draining:
            raise _ToldToEnd

    def load_it() -> None:
        try:
            state.async_engine = load(show_progress)
            logger.info("%s is ready at %s", name, url)
        except _ToldToEnd:
            pass
        except BaseException as error:  # it is raised where the caller can see it
            failures.append(error)
            server.should_exit = True

    announcer.info("loading %s; %s/health says when it is ready", name, url)
    loader = threading.Thread(target=load_it, name="loader", daemon=True)
    loader.start()
    try:
        server.run(sockets=[listener])
    finally:
        server.should_exit = True
        loader.join()
        state.stop()  # if it became ready in the very moment of the shutdown
    if failures:
        raise failures[0]
    if server.has_failed:
        raise EngineUnavailable(str(state.async_engine and state.async_engine.failure))
    if server.was_interrupted:
        raise KeyboardInterrupt


def _server(app: FastAPI, state: ServerState) -> DrainingServer:
    config = state.config
    return DrainingServer(
        uvicorn.Config(
            app,
            http=TimelyProtocol,  # over h11, which bounds what a client sends before its request is complete
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=GOODBYE_S,
        ),
        traffic=state.traffic,
        shutdown_timeout_s=config.shutdown_timeout_s,
        failure=lambda: None if state.async_engine is None else state.async_engine.failure,
        exit_on_failure=config.exit_on_failure,
        reload=None if config.api_key_file is None else state.keys.reload,
    )


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
