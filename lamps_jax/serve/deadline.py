"""When a request must have ended, counted from its arrival."""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial

from starlette.types import Message, Receive

from lamps_jax.serve.protocol import RequestError

HEADER = b"x-request-timeout-s"

BODY_TIMEOUT_S = 120.0
"""No client may take longer to send a body, whether there is a deadline or not."""


def seconds_of(value: str | None) -> float | None:
    """What the header says; None if it was not sent.

    Raises:
        RequestError: If it is no positive number.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise RequestError(
            f"X-Request-Timeout-S must be a positive number of seconds, got {value[:40]!r}", code="invalid_timeout"
        )
    return seconds


def shortest(*timeouts_s: float | None) -> float | None:
    """The least of those that are given."""
    return min((timeout for timeout in timeouts_s if timeout is not None), default=None)


def deadline_error(timeout_s: float) -> RequestError:
    """For a request that has not ended in time."""
    message = f"the request did not end within {timeout_s:g} s of its arrival, and was given up"
    return RequestError(message, status=504, code="deadline_exceeded")


def queue_error(timeout_s: float, headers: Mapping[str, str]) -> RequestError:
    """For a request that was not begun in time."""
    message = f"the request was not begun within {timeout_s:g} s of its arrival, for others were before it; try again later"
    return RequestError(message, status=408, code="queue_timeout", headers=headers)


def timely_body(
    receive: Receive,
    remaining_s: Callable[[], float | None],
    on_stop: Callable[[Callable[[Exception], None] | None], None] = lambda stop: None,
) -> Receive:
    """`receive` that raises when the body has not come in time; behind the body it is as it was.

    Args:
        remaining_s: Until the request's deadline; None if it has none.
        on_stop: Told what has it raise an error instead of waiting any longer; None, as soon as it does not wait.
    """
    has_body, waited_until = True, asyncio.get_running_loop().time() + BODY_TIMEOUT_S

    async def receive_in_time() -> Message:
        nonlocal has_body
        if not has_body:
            return await receive()
        deadline_s, patience_s = remaining_s(), waited_until - asyncio.get_running_loop().time()
        limit_s = patience_s if deadline_s is None else min(deadline_s, patience_s)
        stopped: list[Exception] = []
        try:
            async with asyncio.timeout(limit_s) as scope:
                on_stop(partial(_give_up, scope, stopped))
                message = await receive()
        except TimeoutError as error:
            if stopped:
                raise stopped[0] from error
            text = "the body of the request did not come in time"
            late = deadline_s is not None and deadline_s <= patience_s
            code = "deadline_exceeded" if late else "body_timeout"
            raise RequestError(text, status=504 if late else 408, code=code) from error
        finally:
            on_stop(None)
        has_body = message["type"] == "http.request" and message.get("more_body", False)
        return message

    return receive_in_time


def _give_up(waiting: asyncio.Timeout, errors: list[Exception], error: Exception) -> None:
    errors.append(error)
    waiting.reschedule(0.0)
