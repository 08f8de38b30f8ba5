"""An event loop on a thread of its own, for tools that are coroutines and for connections that outlive a call."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")

_STOP_TIMEOUT_S = 5.0


class BackgroundLoop:
    """An asyncio event loop on a daemon thread that begins with the first coroutine. Its methods may be called by any thread.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str):
        self._name, self._lock = name, threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Begins a coroutine; its result, or what it raised, is in the future, which cancels it.

        Raises:
            RuntimeError: If the loop has been stopped.
        """
        try:
            loop = self._begun()
        except RuntimeError:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(_contained(coroutine), loop)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Result of a coroutine, once it has one."""
        return self.submit(coroutine).result()

    def stop(self) -> None:
        """Cancels what still runs, and ends the thread; nothing more can be submitted."""
        with self._lock:
            self._stopped, loop, thread = True, self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._stopped:
                raise RuntimeError(f"the event loop {self._name} has been stopped")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _contained(coroutine: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop, and with it what others run there
        raise RuntimeError(f"{type(error).__name__} in a coroutine") from error


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_STOP_TIMEOUT_S)
