"""What is under way, who waits, and whether more may come. All of it belongs to the event loop."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from lamps_jax.serve.protocol import RequestError

RATE_WINDOW_S = 60.0
"""The speed at which requests are begun is that of so many last seconds."""

MAX_RETRY_AFTER_S = 120
DEFAULT_RETRY_AFTER_S = 5
"""Where nothing is known of the speed."""

TOKEN_PATHS = ("/tokenize", "/detokenize")
"""What asks for work of the tokenizer alone."""


class UnderWay(Protocol):
    """A request that has not ended."""

    def stop(self, error: RequestError) -> None:
        """Gives it up; its client gets the error."""
        ...


class Traffic:
    """The requests of the API that are under way, and those of them that wait.

    Args:
        clock: Monotonic seconds.

    Attributes:
        under_way: From their heads to the ends of their answers; those for tokens alone are among them.
        num_waiting: Prompts handed to the engine of which no step has computed anything.
        drain_until_s: When those under way are given up; None as long as more may come.
    """

    def __init__(self, *, max_queue_len: int | None = None, clock: Callable[[], float] = time.monotonic):
        self.under_way: set[UnderWay] = set()
        self.num_waiting = 0
        self.drain_until_s: float | None = None
        self._max_queue_len, self._clock = max_queue_len, clock
        self._starts: deque[float] = deque(maxlen=256)
        self._drain_waiters: set[asyncio.Future[None]] = set()

    @property
    def is_draining(self) -> bool:
        """Whether nothing more may come."""
        return self.drain_until_s is not None

    def drain(self, until_s: float) -> None:
        """Lets nothing more come, and what is under way go on until then."""
        self.drain_until_s = until_s
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def drained(self) -> None:
        """Returns once nothing more may come."""
        if self.is_draining:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._drain_waiters.add(waiter)
        try:
            await waiter
        finally:
            self._drain_waiters.discard(waiter)

    def stop_all(self, error: RequestError) -> None:
        """Ends everything that is under way."""
        for each in list(self.under_way):
            each.stop(error)

    def queue(self, count: int, *, num_free_places: int) -> None:
        """Counts so many prompts among those that wait.

        Args:
            num_free_places: Prompts that the engine could begin at once.

        Raises:
            RequestError: If too many wait. Where nobody waits, all have their turn, however many they are.
        """
        self.check_queue(count, num_free_places=num_free_places)
        self.num_waiting += count

    def check_queue(self, count: int = 1, *, num_free_places: int) -> None:
        """Refuses so many prompts if too many would wait.

        Raises:
            RequestError: If so.
        """
        if self._max_queue_len is None:
            return
        room = self._max_queue_len + num_free_places
        if self.num_waiting + count <= room or (room and not self.num_waiting):
            return
        message = f"{self.num_waiting} requests wait already, and at most {self._max_queue_len} may; try again later"
        raise RequestError(message, status=429, code="queue_full", headers=retry_after(self.retry_after_s()))

    def started(self) -> None:
        """One that waited has been begun."""
        self.num_waiting -= 1
        self._starts.append(self._clock())

    def gone(self, count: int) -> None:
        """So many of those that waited will never be begun."""
        self.num_waiting -= count

    def retry_after_s(self) -> float:
        """How long those that wait now will take to be begun, at the speed of late."""
        now = self._clock()
        while self._starts and self._starts[0] < now - RATE_WINDOW_S:
            self._starts.popleft()
        if not self._starts or now <= self._starts[0]:
            return DEFAULT_RETRY_AFTER_S
        return max(1, self.num_waiting) * (now - self._starts[0]) / len(self._starts)


def retry_after(seconds: float) -> dict[str, str]:
    """The header that tells a client when to come again: whole seconds, at least one."""
    return {"Retry-After": str(min(MAX_RETRY_AFTER_S, max(1, math.ceil(seconds))))}


def is_generation(method: str, path: str) -> bool:
    """Whether a request asks for work of the model."""
    return method == "POST" and path.startswith("/v1/")


def is_limited(method: str, path: str) -> bool:
    """Whether a request counts under the limits: it asks for work of the model, or of its tokenizer."""
    return is_generation(method, path) or (method == "POST" and path in TOKEN_PATHS)


def header_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The value of a header; None if it was not sent."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)
