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
        gives_way: What becomes of a request's blocks that others need more: SWAP as long as the host has room and the step's swap
            budget lasts, else DISCARD.
        victim_key: Of requests in API calls, the one with the largest key gives way first. Requests that wait or run give way
            from the end of the order of service, and only to one before them.
        summary: One line for people.
    """

    order_key: Callable[[Request], tuple[int, ...]]
    handling: Callable[[Request], Handling]
    admits: Callable[[Request, int, int], bool]
    gives_way: Callable[[Request], Handling]
    victim_key: Callable[[Request], tuple[float, ...]]
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
    """Blocks are let go and computed again, as far as they are not found any more."""
    return Handling.DISCARD


def swap_always(request: Request) -> Handling:
    """Blocks go to the host and come back."""
    return Handling.SWAP


def by_pause(request: Request) -> tuple[float, ...]:
    """The latest to call a tool gives way first."""
    return (request.paused_s, request.order)


def whole_context_fits(request: Request, missing_blocks: int, free_blocks: int) -> bool:
    """Admits a request when everything known of it fits, so that it is not evicted half-way through its own prefill."""
    return missing_blocks <= free_blocks


SYSTEMS: dict[str, System] = {
    "preserve": System(
        order_key=by_arrival,
        handling=preserve_always,
        admits=whole_context_fits,
        gives_way=swap_always,
        victim_key=by_pause,
        summary="first come, first served; blocks stay on the device during a call",
    ),
    "swap": System(
        order_key=by_arrival,
        handling=swap_always,
        admits=whole_context_fits,
        gives_way=swap_always,
        victim_key=by_pause,
        summary="first come, first served; blocks go to the host during a call (needs --host-kv-bytes)",
    ),
    "vllm": System(
        order_key=by_queueing,
        handling=discard_always,
        admits=whole_context_fits,
        gives_way=discard_always,
        victim_key=by_pause,
        summary="blocks are let go at a call; the request resumes at the tail of the queue",
    ),
    "vllm-head": System(
        order_key=by_arrival,
        handling=discard_always,
        admits=whole_context_fits,
        gives_way=discard_always,
        victim_key=by_pause,
        summary="blocks are let go at a call; the request resumes at its old place",
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
