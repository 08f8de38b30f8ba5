"""What is known of one HTTP request, from its head to the end of its answer: for its limits, the log, metrics and traces."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import Scope

from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.serve.deadline import deadline_error, queue_error, shortest
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.traffic import Traffic, is_generation, retry_after

GRACE_S = 5.0
"""How long an account stays open, once its answer has ended, for requests of which the engine has not said that they have."""


class EventListener(Protocol):
    """Hears of the requests of all clients."""

    def heard(self, event: Event) -> None:
        """As `Watch.heard`."""
        ...


@dataclass(slots=True, eq=False)
class Account:
    """One HTTP request. Its attributes belong to the event loop; `added` and `heard` are for the engine's thread.

    Attributes:
        arrival_s: When its head had been read, on the clock that the engine has too; `arrival_unix_s`: by the calendar.
        trace_headers: traceparent and tracestate, as far as they came.
        timeout_s: From its arrival to when it is given up; None for never.
        key_name: What its key is called; "" without one.
        session: Digest of the name of its session; "" without one.
        status: Of its answer; 0 until it begins.
        error_code: Why it was refused or given up, as far as this server did that.
        ended_s: When its answer ended.
        outputs: What its prompts yielded, as they ended.
    """

    method: str
    path: str
    request_id: str
    traffic: Traffic
    listener: EventListener
    report: Callable[["Account"], None]
    queue_timeout_s: float | None = None
    timeout_s: float | None = None
    arrival_s: float = field(default_factory=time.monotonic)
    arrival_unix_s: float = field(default_factory=time.time)
    trace_headers: dict[str, str] = field(default_factory=dict)
    key_name: str = ""
    session: str = ""
    status: int = 0
    error_code: str | None = None
    ended_s: float | None = None
    outputs: list[RequestOutput] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _stop: Callable[[Exception], None] | None = None
    _stopped: RequestError | None = None
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _num_queued: int = 0
    _num_added: int = 0
    _num_started: int = 0
    _is_reported: bool = False

    @property
    def is_generation(self) -> bool:
        """Whether it asks for work of the model."""
        return is_generation(self.method, self.path)

    def remaining_s(self) -> float | None:
        """Until it is given up; None if it never is."""
        return None if self.timeout_s is None else self.arrival_s + self.timeout_s - time.monotonic()

    # On the event loop.

    def queue(self, count: int, *, num_free_places: int, timeout_s: float | None = None, session_id: str = "") -> None:
        """Has so many prompts wait for the engine, if they may, no longer than the clock allows.

        Raises:
            RequestError: If they may not.
        """
        self.timeout_s = shortest(self.timeout_s, timeout_s)
        self.session = hashlib.sha256(session_id.encode()).hexdigest()[:12] if session_id else ""
        try:
            if self._stopped is not None:
                raise self._stopped
            self._check_clock()
            self.traffic.queue(count, num_free_places=num_free_places)
        except RequestError as error:
            self.error_code = error.code
            raise
        self._num_queued = count

    def reading(self, stop: Callable[[Exception], None] | None) -> None:
        """Its body is waited for, and `stop` has that end with an error; None: no more."""
        self._stop = stop
        if stop is not None and self._stopped is not None:
            stop(self._stopped)

    def begun(self, stop: Callable[[Exception], None]) -> None:
        """The engine has its prompts; `stop` has it give them up."""
        self._stop = stop
        if self._stopped is not None:
            stop(self._stopped)
            return
        for timeout_s, expire in ((self.timeout_s, self._expire), (self.queue_timeout_s, self._expire_in_queue)):
            if timeout_s is not None:
                wait_s = max(0.0, self.arrival_s + timeout_s - time.monotonic())
                self._timers.append(self._loop.call_later(wait_s, expire))

    def stop(self, error: RequestError) -> None:
        """Gives it up wherever it is; the client gets the error. Of several errors it gets the first."""
        if self._stopped is not None or self.ended_s is not None:
            return
        self._stopped, self.error_code = error, error.code
        if self._stop is not None:
            self._stop(error)

    def responded(self) -> None:
        """Its answer has ended, or its client has left."""
        self.ended_s = time.monotonic()
        for timer in self._timers:
            timer.cancel()
        if waiting := self._num_queued - self._num_started:
            self.traffic.gone(waiting)
        self._num_queued = self._num_started = 0
        self.traffic.under_way.discard(self)
        if len(self.outputs) >= self._num_added:
            self._report()
        else:
            self._loop.call_later(GRACE_S, self._report)

    def _check_clock(self) -> None:
        waited_s = time.monotonic() - self.arrival_s
        if self.timeout_s is not None and waited_s >= self.timeout_s:
            raise deadline_error(self.timeout_s)
        if self.queue_timeout_s is not None and waited_s >= self.queue_timeout_s:
            raise queue_error(self.queue_timeout_s, retry_after(self.traffic.retry_after_s()))

    def _expire(self) -> None:
        assert self.timeout_s is not None
        self.stop(deadline_error(self.timeout_s))

    def _expire_in_queue(self) -> None:
        assert self.queue_timeout_s is not None
        if not self._num_started:
            self.stop(queue_error(self.queue_timeout_s, retry_after(self.traffic.retry_after_s())))

    def _note_added(self) -> None:
        self._num_added += 1

    def _note_started(self) -> None:
        if self._num_queued > self._num_started:
            self._num_started += 1
            self.traffic.started()

    def _note_finished(self, output: RequestOutput) -> None:
        self.outputs.append(output)
        if self.ended_s is not None and len(self.outputs) >= self._num_added:
            self._report()

    def _report(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            self.report(self)

    # On the engine's thread.

    def added(self, request_id: str) -> None:
        """The engine has taken one of its prompts."""
        self._on_the_loop(self._note_added)

    def heard(self, event: Event) -> None:
        """Something has become of one of its prompts."""
        self.listener.heard(event)
        if event.kind == "started":
            self._on_the_loop(self._note_started)
        elif event.kind == "finished":
            self._on_the_loop(self._note_finished, event.output)

    def _on_the_loop(self, act: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody wants to know any more
            self._loop.call_soon_threadsafe(act, *arguments)


def account_of(scope: Scope) -> Account:
    """The account of a request that `AccountMiddleware` serves."""
    return scope["state"]["account"]
