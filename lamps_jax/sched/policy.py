"""The named systems: each is three pure functions, an order of service, a handling of API calls and a rule of admission."""

from collections.abc import Callable
from dataclasses import dataclass

from lamps_jax.sched.request import Handling, Request


@dataclass(frozen=True, slots=True)
class System:
    """One way to decide.

    Attributes:
        order_key: Requests are served in ascending order of this key.
        handling: What becomes of a request's blocks as it calls a tool.
        admits: Whether a waiting request may start, given ``(request, missing_blocks, free_blocks)``: the blocks that its known
            context still lacks, and those that are free.
        summary: One line for people.
    """

    order_key: Callable[[Request], tuple[int, ...]]
    handling: Callable[[Request], Handling]
    admits: Callable[[Request, int, int], bool]
    summary: str


def by_arrival(request: Request) -> tuple[int, ...]:
    """First come, first served; a request that returns from a call takes its old place."""
    return (request.order,)


def by_queueing(request: Request) -> tuple[int, ...]:
    """First come, first served; a request that returns from a call goes to the tail."""
    return (request.queued_order,)


def preserve_always(request: Request) -> Handling:
    """Blocks stay on the device during every call."""
    return Handling.PRESERVE


def discard_always(request: Request) -> Handling:
    """Blocks are freed at every call and computed again after it."""
    return Handling.DISCARD


def whole_context_fits(request: Request, missing_blocks: int, free_blocks: int) -> bool:
    """Admits a request when everything known of it fits, so that it is not evicted half-way through its own prefill."""
    return missing_blocks <= free_blocks


SYSTEMS: dict[str, System] = {
    "preserve": System(
        by_arrival, preserve_always, whole_context_fits, "first come, first served; blocks stay on the device during a call"
    ),
    "vllm": System(
        by_queueing,
        discard_always,
        whole_context_fits,
        "blocks are freed at a call; the request resumes at the tail of the queue",
    ),
    "vllm-head": System(
        by_arrival, discard_always, whole_context_fits, "blocks are freed at a call; the request resumes at its old place"
    ),
}
"""Every system that `--policy` knows, by name."""


def system_named(name: str) -> System:
    """The system called `name`.

    Raises:
        ValueError: If there is none; the message lists those that exist.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ValueError(f"unknown policy {name!r}; known are {', '.join(SYSTEMS)}") from None
