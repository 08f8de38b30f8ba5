"""Hands the prompts of an HTTP request to the engine, within the limits that the request has."""

from collections.abc import AsyncGenerator, Sequence

from fastapi import Request

from lamps_jax.engine.options import NO_OPTIONS, RequestOptions
from lamps_jax.sched.request import SamplingParams
from lamps_jax.serve.account import account_of
from lamps_jax.serve.async_engine import AsyncEngine, IndexedEvent


def submit(
    request: Request,
    engine: AsyncEngine,
    prompts: Sequence[tuple[list[int], SamplingParams]],
    options: RequestOptions = NO_OPTIONS,
    *,
    timeout_s: float | None = None,
    only_ends: bool = False,
) -> AsyncGenerator[list[IndexedEvent], None]:
    """The events of all prompts, as `AsyncEngine.generate` has them.

    Args:
        timeout_s: From the arrival of `request` to the end of its last prompt; None leaves it to the headers and the server.
        only_ends: As `AsyncEngine.generate` has it.

    Raises:
        RequestError: At once, if too many wait or it is too late; while iterating, once the request has run out of time or the
            server ends.
        EngineUnavailable: As `AsyncEngine.generate`.
    """
    account = account_of(request.scope)
    account.queue(len(prompts), num_free_places=engine.num_free_places, timeout_s=timeout_s, session_id=options.program_id)
    return engine.generate(prompts, options, watch=account, only_ends=only_ends)
