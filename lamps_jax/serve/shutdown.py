"""How the server ends: nothing new is taken, what is under way may end within a time, then the rest is given up."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamps_jax.serve.account import account_of
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.traffic import Traffic, is_limited, retry_after

logger = logging.getLogger(__name__)

STILL_SERVED = ("/metrics", "/version")
"""What may be looked at while the server ends."""

GOODBYE_S = 2.0
"""How long what was given up may take to be told so."""


class DrainMiddleware:
    """Answers 503 once the server is to end, and lets streams of what is looked at end."""

    def __init__(self, app: ASGIApp, *, traffic: Traffic):
        self._app, self._traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._traffic.is_draining and scope["path"] not in STILL_SERVED:
            account_of(scope).error_code = "draining"
            await error_response(self._error())(scope, receive, send)
        elif is_limited(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
        else:
            await self._app(scope, self._until_drained(receive), send)

    def _error(self) -> RequestError:
        left_s = (self._traffic.drain_until_s or 0.0) - time.monotonic()
        headers = {**retry_after(left_s), "Connection": "close"}
        return RequestError("the server is about to end and takes no new requests", status=503, code="draining", headers=headers)

    def _until_drained(self, receive: Receive) -> Receive:
        """`receive` for a request without a body: its client seems to leave when the server is to end."""

        async def receive_or_end() -> Message:
            hearing, draining = asyncio.ensure_future(receive()), asyncio.ensure_future(self._traffic.drained())
            try:
                await asyncio.wait({hearing, draining}, return_when=asyncio.FIRST_COMPLETED)
                return hearing.result() if hearing.done() else {"type": "http.disconnect"}
            finally:
                hearing.cancel()
                draining.cancel()

        return receive_or_end


class DrainingServer(uvicorn.Server):
    """Ends at the first SIGINT or SIGTERM once nothing is under way any more, or in time; at the second at once.

    Args:
        failure: Why the engine works no more; None while it does.
        exit_on_failure: Whether to end when it does not.
        reload: Called at SIGHUP, if anything is to be.

    Attributes:
        was_interrupted: Whether SIGINT has ended it.
        has_failed: Whether the engine's failure has.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        traffic: Traffic,
        shutdown_timeout_s: float,
        failure: Callable[[], str | None],
        exit_on_failure: bool,
        reload: Callable[[], None] | None = None,
    ):
        super().__init__(config)
        self.was_interrupted = self.has_failed = False
        self._traffic, self._shutdown_timeout_s, self._reload = traffic, shutdown_timeout_s, reload
        self._failure, self._exit_on_failure = failure, exit_on_failure
        self._num_signals, self._is_closing_idle = 0, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end, or ends."""
        self.was_interrupted = self.was_interrupted or sig == signal.SIGINT
        self._num_signals += 1
        self.force_exit = self.force_exit or (self.should_exit and self._num_signals > 1)

    async def startup(self, *arguments: object, **keywords: object) -> None:
        """Also begins to listen for SIGHUP."""
        if self._reload is not None and threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        await super().startup(*arguments, **keywords)  # pyright: ignore[reportArgumentType]

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to end."""
        if self._num_signals and not self._traffic.is_draining:
            self._begin_to_drain()
        if self._num_signals > 1:
            logger.warning("told to end a second time: %d requests are given up", len(self._traffic.under_way))
            await self._give_up(0.0)
            self.should_exit = self.force_exit = True
        elif self._traffic.drain_until_s is not None and not self.should_exit:
            if self._traffic.under_way and time.monotonic() >= self._traffic.drain_until_s:
                message = "%d requests have not ended within %g s and are given up"
                logger.warning(message, len(self._traffic.under_way), self._shutdown_timeout_s)
                await self._give_up(GOODBYE_S)
                self.should_exit = True
            self.should_exit = self.should_exit or not self._traffic.under_way
        elif self._exit_on_failure and self._failure() is not None and not self.should_exit:
            self.has_failed = self.should_exit = True
        return await super().on_tick(counter)

    def _begin_to_drain(self) -> None:
        self._traffic.drain(time.monotonic() + self._shutdown_timeout_s)
        if self._traffic.under_way:
            message = "told to end: %d requests are under way and have %g s for it; a second signal ends them at once"
            logger.info(message, len(self._traffic.under_way), self._shutdown_timeout_s)
        for connection in list(self.server_state.connections):
            connection.shutdown()  # closes it if it is idle, and otherwise behind the answer that is under way

    async def _give_up(self, patience_s: float) -> None:
        """Ends what is under way with an error, and waits until that has been told."""
        error = RequestError("the server ended before the request did", status=503, code="shutting_down")
        self._traffic.stop_all(error)
        until_s = time.monotonic() + patience_s
        while self._traffic.under_way and time.monotonic() < until_s:
            await asyncio.sleep(0.01)
