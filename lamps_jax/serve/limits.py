"""How many requests may come: at once, in a minute, and in the queue."""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from lamps_jax.serve.account import account_of
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.traffic import Traffic, is_generation, retry_after


class TokenBuckets:
    """Lets so many requests a minute pass under each name: a minute's worth at once, then as they are earned.

    Source: the token bucket of RFC 2697, with one rate.
    """

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic):
        self._rate, self._capacity, self._clock = per_minute / 60.0, max(1.0, per_minute), clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when that was counted

    def take(self, name: str) -> float:
        """Takes a token of that name's; returns 0, or if there is none the seconds until there will be."""
        now = self._clock()
        tokens, counted_s = self._buckets.get(name, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - counted_s) * self._rate)
        if tokens < 1.0:
            self._buckets[name] = tokens, now
            return (1.0 - tokens) / self._rate
        self._buckets[name] = tokens - 1.0, now
        return 0.0


class LimitsMiddleware:
    """Refuses requests for work of the model with 429 before they are read, where there are too many of them.

    Args:
        num_free_places: Prompts that the engine could begin at once.
    """

    def __init__(self, app: ASGIApp, *, config: ServerConfig, traffic: Traffic, num_free_places: Callable[[], int]):
        self._app, self._config, self._traffic, self._num_free_places = app, config, traffic, num_free_places
        self._buckets = None if config.requests_per_minute is None else TokenBuckets(config.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and is_generation(scope["method"], scope["path"]):
            try:
                self._check(account_of(scope).key_name)
            except RequestError as error:
                account_of(scope).error_code = error.code
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, key_name: str) -> None:
        most = self._config.max_concurrent_requests
        if most is not None and len(self._traffic.under_way) > most:  # this one is among them
            message = f"{most} requests are under way already, and no more may be; try again later"
            headers = retry_after(self._traffic.retry_after_s())
            raise RequestError(message, status=429, code="too_many_requests", headers=headers)
        self._traffic.check_queue(num_free_places=self._num_free_places())
        if self._buckets is not None and (wait_s := self._buckets.take(key_name)):
            message = f"only {self._config.requests_per_minute:g} requests a minute are served; try again in {wait_s:.0f} s"
            raise RequestError(message, status=429, code="rate_limit_exceeded", headers=retry_after(wait_s))
