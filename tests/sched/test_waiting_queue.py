"""The queue against a sorted list, and its guard against starvation against a count of steps."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.request import Request, RequestState, SamplingParams
from lamps_jax.sched.waiting_queue import RANKED_PER_STEP, WaitingQueue


def ranked(name: str, *rank: float) -> Request:
    request = Request(name, 0.0, [1], SamplingParams())
    request.rank = rank
    return request


def promoted(request: Request) -> tuple[float, ...]:
    return (-1.0, *request.rank)


def drained(queue: WaitingQueue) -> list[str]:
    names = []
    while (request := queue.first()) is not None:
        names.append(request.request_id)
        queue.pop_first()
    return names


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30))
def test_requests_come_up_in_order_of_their_rank_and_those_that_left_do_not(entries: list[tuple[int, bool]]):
    queue, staying = WaitingQueue(), []
    for place, (rank, leaves) in enumerate(entries):
        request = ranked(str(place), rank, place)
        queue.push(request, 0)
        if leaves:
            request.state = RequestState.FINISHED
        else:
            staying.append(request)
    assert drained(queue) == [request.request_id for request in sorted(staying, key=lambda request: request.rank)]


def test_a_request_that_waited_for_as_many_steps_as_allowed_goes_first_and_is_counted_once():
    queue, old, new = WaitingQueue(starvation_threshold=3), ranked("old", 9), ranked("new", 1)
    queue.push(old, 0)
    queue.push(new, 2)
    queue.promote_starving(2, promoted)
    assert queue.first() is new
    queue.promote_starving(3, promoted)
    assert (queue.first(), old.is_promoted, queue.num_promoted) == (old, True, 1)
    queue.promote_starving(9, promoted)
    assert queue.num_promoted == 2  # `new` too, by now


def test_the_steps_of_an_earlier_stay_do_not_count():
    queue, request = WaitingQueue(starvation_threshold=3), ranked("r", 1)
    queue.push(request, 0)
    assert queue.first() is request
    queue.pop_first()
    queue.push(request, 2)
    queue.promote_starving(4, promoted)
    assert not request.is_promoted
    queue.promote_starving(5, promoted)
    assert request.is_promoted


@pytest.mark.parametrize(("started_only", "expected"), [(True, {"started"}), (False, {"started", "fresh"})])
def test_the_released_code_guards_only_requests_that_have_run_before(started_only: bool, expected: set[str]):
    queue, fresh, started = (
        WaitingQueue(starvation_threshold=1, started_only=started_only),
        ranked("fresh", 1),
        ranked("started", 2),
    )
    started.num_tokens_once_computed = 5
    for request in (fresh, started):
        queue.push(request, 0)
    queue.promote_starving(1, promoted)
    assert {request.request_id for request in (fresh, started) if request.is_promoted} == expected


def test_without_a_threshold_nobody_is_promoted():
    queue, request = WaitingQueue(), ranked("r", 1)
    queue.push(request, 0)
    queue.promote_starving(10**9, promoted)
    assert not request.is_promoted
    assert queue.steps_until_promotion(0) is None


@pytest.mark.parametrize("num_waiting", [3, 20, 500])
def test_all_are_ranked_anew_within_the_interval_or_as_many_a_step_as_it_may(num_waiting: int):
    interval = 10
    queue, requests = WaitingQueue(), [ranked(str(n), n) for n in range(num_waiting)]
    for request in requests:
        queue.push(request, 0)
    asked: list[int] = []

    def reversed_rank(request: Request) -> tuple[float, ...]:
        asked[-1] += 1
        return (-float(request.request_id),)

    for _ in range(max(interval, -(-2 * num_waiting // RANKED_PER_STEP)) * 3):
        asked.append(0)
        queue.refresh(interval, reversed_rank)
    assert max(asked) <= RANKED_PER_STEP
    assert drained(queue) == [str(n) for n in reversed(range(num_waiting))]


def test_entries_that_no_longer_count_are_cleared_away():
    queue, requests, clock = WaitingQueue(), [ranked(str(n), n) for n in range(100)], iter(range(10**6))
    for request in requests:
        queue.push(request, 0)
    always_new: Callable[[Request], tuple[float, ...]] = lambda request: (next(clock), 0.0)  # noqa: E731
    for _ in range(2000):
        queue.refresh(1, always_new)
    assert len(queue) <= 300
    assert sorted(drained(queue), key=int) == [str(n) for n in range(100)]
