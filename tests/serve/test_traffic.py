import asyncio

import pytest

from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.traffic import MAX_RETRY_AFTER_S, Traffic, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(traffic: Traffic, count: int, free: int) -> RequestError:
    with pytest.raises(RequestError) as error:
        traffic.queue(count, num_free_places=free)
    assert (error.value.status, error.value.code) == (429, "queue_full")
    return error.value


def test_as_many_may_wait_as_the_queue_and_the_free_places_hold():
    traffic = Traffic(max_queue_len=2)
    traffic.queue(2, num_free_places=3)
    traffic.queue(3, num_free_places=3)
    refused(traffic, 1, 3)
    for _ in range(3):
        traffic.started()
    refused(traffic, 1, 0)
    traffic.gone(1)
    traffic.queue(1, num_free_places=0)
    assert traffic.num_waiting == 2


def test_with_an_empty_queue_requests_of_many_prompts_have_their_turn_unless_nobody_may_wait():
    traffic = Traffic(max_queue_len=2)
    traffic.queue(50, num_free_places=0)
    refused(traffic, 1, 8)
    nobody_waits = Traffic(max_queue_len=0)
    refused(nobody_waits, 1, 0)
    nobody_waits.queue(1, num_free_places=1)
    refused(nobody_waits, 1, 1)


def test_without_a_limit_everybody_waits():
    traffic = Traffic()
    traffic.queue(10_000, num_free_places=0)
    traffic.queue(1, num_free_places=0)


def test_clients_are_told_to_come_again_when_those_who_wait_will_have_been_begun():
    clock = Clock()
    traffic = Traffic(max_queue_len=8, clock=clock)
    assert traffic.retry_after_s() == 5
    traffic.queue(8, num_free_places=0)
    for _ in range(4):
        clock.now += 2.0
        traffic.started()
        traffic.queue(1, num_free_places=0)
    clock.now += 2.0  # four were begun in eight seconds, and eight wait
    error = refused(traffic, 1, 0)
    assert error.headers == {"Retry-After": "16"}
    clock.now += 1000.0
    assert traffic.retry_after_s() == 5  # that speed is long past


def test_the_header_has_whole_seconds_within_bounds():
    assert [retry_after(value)["Retry-After"] for value in (0.0, 0.2, 1.1, 1e9)] == ["1", "1", "2", str(MAX_RETRY_AFTER_S)]


def test_whoever_waits_for_the_end_hears_of_it_once_and_for_all():
    async def scenario() -> None:
        traffic = Traffic()
        waiting = [asyncio.create_task(traffic.drained()) for _ in range(2)]
        given_up = asyncio.create_task(traffic.drained())
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        assert not traffic.is_draining
        traffic.drain(5.0)
        await asyncio.wait_for(asyncio.gather(*waiting), 1.0)
        await asyncio.wait_for(traffic.drained(), 1.0)
        assert traffic.is_draining

    asyncio.run(scenario())
