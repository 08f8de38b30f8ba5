"""The paper's worked example: three requests that share room for six tokens, one of which is computed in every unit of time.

Source: LAMPS (NeurIPS 2025), section 2 and Figure 1. Its prose gives outputs, calls and handlings; where the calls lie within the
outputs, and the rules by which the four averages of the text come out, are inferred:

- the output before a call is one token shorter than the whole;
- a discarded context is computed again, a token in a unit; copies take no time;
- a stretch, before a call or behind it, begins or goes on only if all the memory that it will have in the end is free of others;
- requests that have not begun wait for the one that runs to reach its call or its end; of those that return from a call, some or
  all take its place at once if they come before it: `completions` is told which.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lamps_jax.sched.request import Handling

ROOM = 6


@dataclass(frozen=True, slots=True)
class ToyRequest:
    """What the figure says of a request: tokens before and after its call, and how long that takes."""

    name: str
    before: int
    api_duration: int
    handling: Handling
    after: int = 1


R1 = ToyRequest("R1", 5, 2, Handling.PRESERVE)
R2 = ToyRequest("R2", 1, 7, Handling.DISCARD)
R3 = ToyRequest("R3", 2, 1, Handling.SWAP)
EXAMPLE = (R1, R2, R3)


@dataclass(slots=True)
class Life:
    """A request under way.

    Attributes:
        todo: Units of computation until its call, or its end.
        held: Its tokens on the device.
        on_host: Those on the host.
        returns_at: When its call returns; None if it is in none.
        called: Whether it has been through its call.
        done_at: When it ended.
    """

    request: ToyRequest
    todo: int
    held: int = 0
    on_host: int = 0
    returns_at: int | None = None
    called: bool = False
    done_at: int | None = None

    @property
    def remaining(self) -> int:
        """Units of computation until the end, those for a discarded context included."""
        if self.called:
            return self.todo
        return self.todo + behind_call(self.request)


def behind_call(request: ToyRequest) -> int:
    """Units of computation that follow the call."""
    return request.after + request.before * (request.handling is Handling.DISCARD)


Rank = Callable[[Life], Fraction]
"""What comes first, ascending."""


def in_order(*order: ToyRequest) -> Rank:
    """The same rank for all of a request's life."""
    return lambda life: Fraction(order.index(life.request))


def any_return(life: Life) -> bool:
    """Whoever returns from a call takes the place of the one that runs."""
    return life.called


def returns_with_kv(life: Life) -> bool:
    """A request that was discarded joins those that have not begun."""
    return life.called and life.request.handling is not Handling.DISCARD


def completions(rank: Rank, displaces: Callable[[Life], bool], requests: tuple[ToyRequest, ...] = EXAMPLE) -> dict[str, int]:
    """When each request ends, served by rank; of equals the one that runs goes on.

    Args:
        rank: Looked at anew in every unit.
        displaces: Whether a request that is not running may take the place of one that is in the middle of a stretch.
        requests: All are there at 0.
    """
    lives = [Life(request, todo=request.before) for request in requests]
    running: Life | None = None
    now = 0
    while any(life.done_at is None for life in lives):
        assert now < 100, "nobody can go on"
        for life in lives:
            if life.returns_at is not None and life.returns_at <= now:
                _return_from_call(life)
        ready = [life for life in lives if life.done_at is None and life.returns_at is None and _fits(life, lives)]
        if running is not None:
            ready = [life for life in ready if life is running or (displaces(life) and rank(life) < rank(running))]
        now += 1
        if not ready:
            assert running is None
            continue
        running = min(ready, key=rank)
        if not _compute_one(running, now):
            running = None
        assert sum(life.held for life in lives) <= ROOM
    return {life.request.name: life.done_at for life in lives if life.done_at is not None}


def average(done: dict[str, int]) -> Fraction:
    """Mean time from 0 to the end."""
    return Fraction(sum(done.values()), len(done))


def _fits(life: Life, lives: list[Life]) -> bool:
    return life.held + life.on_host + life.todo + sum(other.held for other in lives if other is not life) <= ROOM


def _return_from_call(life: Life) -> None:
    request = life.request
    life.returns_at, life.called = None, True
    life.todo = behind_call(request)


def _compute_one(life: Life, now: int) -> bool:
    """Computes a token until `now`; whether the stretch goes on."""
    life.held, life.on_host = life.held + life.on_host + 1, 0
    life.todo -= 1
    if life.todo:
        return True
    if life.called:
        life.held, life.done_at = 0, now
    else:
        _call(life, now)
    return False


def _call(life: Life, now: int) -> None:
    request = life.request
    if request.handling is Handling.SWAP:
        life.on_host = life.held
    if request.handling is not Handling.PRESERVE:
        life.held = 0
    life.returns_at = now + request.api_duration
