"""How many requests may come, at once, in a minute, and in the queue; and how much one of them may ask for."""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from lamps_jax.serve.account import account_of
from lamps_jax.serve.bodies.generation import GenerationBody
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError, refuse
from lamps_jax.serve.server_config import ServerConfig
from lamps_jax.serve.traffic import Traffic, is_generation, is_limited, retry_after


def check_bounds(body: GenerationBody, config: ServerConfig, *, num_tenants: int) -> None:
    """Refuses what would take more of the server than its operator lets one request take.

    Args:
        num_tenants: Different names of keys.

    Raises:
        RequestError: If so.
    """
    most, asked = config.max_priority, body.asked_priority
    if most is None and num_tenants > 1:
        most = 0
    if most is not None and asked > most:
        refuse(f"priority may be at most {most} on this server (--max-priority), got {asked}; ask for less", "priority")
    if config.max_n is not None and body.num_choices > config.max_n:
        refuse(f"n may be at most {config.max_n} on this server (--max-n), got {body.num_choices}; ask for less", "n")


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
    """Refuses requests for work of the model, or of its tokenizer, with 429 before they are read, where there are too many.

    Args:
        num_free_places: Prompts that the engine could begin at once.
    """

    def __init__(self, app: ASGIApp, *, config: ServerConfig, traffic: Traffic, num_free_places: Callable[[], int]):
        self._app, self._config, self._traffic, self._num_free_places = app, config, traffic, num_free_places
        self._buckets = None if config.requests_per_minute is None else TokenBuckets(config.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and is_limited(scope["method"], scope["path"]):
            try:
                self._check(account_of(scope).key_name, queues=is_generation(scope["method"], scope["path"]))
            except RequestError as error:
                account_of(scope).error_code = error.code
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, key_name: str, *, queues: bool) -> None:
        most = self._config.max_concurrent_requests
        if most is not None and len(self._traffic.under_way) > most:  # this one is among them
            message = f"{most} requests are under way already, and no more may be; try again later"
            headers = retry_after(self._traffic.retry_after_s())
            raise RequestError(message, status=429, code="too_many_requests", headers=headers)
        if queues:
            self._traffic.check_queue(num_free_places=self._num_free_places())
        if self._buckets is not None and (wait_s := self._buckets.take(key_name)):
            message = f"only {self._config.requests_per_minute:g} requests a minute are served; try again in {wait_s:.0f} s"
            raise RequestError(message, status=429, code="rate_limit_exceeded", headers=retry_after(wait_s))
