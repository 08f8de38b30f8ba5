"""Work of which nobody knows how long it takes, on threads of its own: what it holds up is at most its like."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.traffic import DEFAULT_RETRY_AFTER_S, retry_after

T = TypeVar("T")

MAX_AT_ONCE = 4
"""Pieces of work that are done at once; further ones wait."""

PATIENCE_S = 10.0
"""Nobody waits longer for a place, or for the work itself."""


class SlowWork:
    """Does work for requests. A piece that does not end keeps its place, and ends with the process.

    Args:
        what: Is compiled by it, as the errors say.
    """

    def __init__(self, what: str, *, max_at_once: int = MAX_AT_ONCE, patience_s: float = PATIENCE_S):
        self._what, self._patience_s = what, patience_s
        self._places = asyncio.Semaphore(max_at_once)

    async def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """What `act` returns or raises.

        Raises:
            RequestError: If it takes too long, or others have all places.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._places.acquire()
        except TimeoutError as error:
            message = f"{self._what} cannot be compiled just now, for others take long; try again later"
            headers = retry_after(DEFAULT_RETRY_AFTER_S)
            raise RequestError(message, status=503, code="busy", headers=headers) from error
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._begun(act, *arguments)
        except TimeoutError as error:
            message = f"{self._what} must not take longer than {self._patience_s:g} s to compile; make it simpler"
            raise RequestError(message) from error

    def _begun(self, act: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        """The work, on a daemon thread: one that is not would hold up the end of the process."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: BaseException | None) -> None:
            self._places.release()
            if done.done():  # nobody waits any more
                return
            if error is None:
                done.set_result(result)  # pyright: ignore[reportArgumentType]
            else:
                done.set_exception(error)

        def work() -> None:
            result, error = None, None
            try:
                result = act(*arguments)
            except BaseException as raised:  # it is for whoever waits
                error = raised
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell, result, error)

        threading.Thread(target=work, name="slow-work", daemon=True).start()
        return done
