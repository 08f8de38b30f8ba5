"""``/live``: snapshots of the engine as server-sent events, from one sampler for all who watch."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.serve.connection import EventStreamResponse
from lamps_jax.serve.live_view import snapshot
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.recent import RecentRequests
from lamps_jax.serve.traffic import DEFAULT_RETRY_AFTER_S, retry_after

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""From one snapshot to the next."""

MAX_WATCHERS = 16
"""Streams at once; a further one is refused."""


class LiveState(Protocol):
    """What is watched."""

    async_engine: AsyncEngine | None
    progress: str
    recent: RecentRequests


def live_routes(state: LiveState, *, model_name: str, interval_s: float = INTERVAL_S) -> APIRouter:
    """``GET /live``, a stream of snapshots, and ``GET /live/snapshot``, one of them."""
    router, sampler = APIRouter(), _Sampler(state, model_name, interval_s)

    @router.get("/live")
    async def live() -> Response:
        if sampler.is_full:
            message = f"{MAX_WATCHERS} watch already; close one of their pages, or poll /live/snapshot"
            raise RequestError(message, status=429, code="too_many_watchers", headers=retry_after(DEFAULT_RETRY_AFTER_S))
        return EventStreamResponse(sampler.events())

    @router.get("/live/snapshot")
    async def live_snapshot() -> Response:
        return JSONResponse(await sampler.sample(), headers={"Cache-Control": "no-store"})

    return router


class _Sampler:
    """Asks the engine as long as somebody watches. A watcher that reads slowly misses snapshots, and holds up nobody."""

    def __init__(self, state: LiveState, model_name: str, interval_s: float):
        self._state, self._model_name, self._interval_s = state, model_name, interval_s
        self._inboxes: set[asyncio.Queue[str]] = set()
        self._sampling: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more may watch."""
        return len(self._inboxes) >= MAX_WATCHERS

    async def events(self) -> AsyncGenerator[str, None]:
        """The stream of one watcher; ends at once if there is no room after all."""
        if self.is_full:
            return
        inbox = asyncio.Queue[str](maxsize=1)
        self._inboxes.add(inbox)
        if self._sampling is None:
            self._sampling = asyncio.create_task(self._sample_on())
        try:
            while True:
                yield await inbox.get()
        finally:
            self._inboxes.remove(inbox)
            if not self._inboxes and self._sampling is not None:
                self._sampling.cancel()
                self._sampling = None

    async def sample(self) -> dict[str, Any]:
        """One snapshot, or why there is none."""
        engine = self._state.async_engine
        seen: dict[str, Any] = {"status": "loading", "message": self._state.progress}
        if engine is not None and engine.failure is None:
            seen = {"status": "ready", **await asyncio.to_thread(engine.ask, self._look)}
        if engine is not None and engine.failure is not None:  # it may have failed while it was asked
            seen = {"status": "failed", "message": engine.failure}
        return {"model": self._model_name, **seen}

    async def _sample_on(self) -> None:
        while True:
            try:
                seen = await self.sample()
            except Exception:
                logger.exception("the live view could not look at the engine")
                seen = {"model": self._model_name, "status": "failed", "message": "the server's log says why"}
            data = f"data: {json.dumps(seen, ensure_ascii=False)}\n\n"
            for inbox in self._inboxes:
                if inbox.full():
                    inbox.get_nowait()
                inbox.put_nowait(data)
            await asyncio.sleep(self._interval_s)

    def _look(self, engine: Engine) -> dict[str, Any]:
        return {**snapshot(engine), **self._state.recent.summary(engine.clock(), engine.outputs())}
