"""When a request may start, by rule."""

import pytest

from lamps_jax.sched.admission import ADMISSIONS, Room
from lamps_jax.sched.request import Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment


def request_of(known: int, *, output: float = 0, held_blocks: int = 0) -> Request:
    request = Request("r", 0.0, [1] * known, SamplingParams())
    request.estimate, request.block_ids = (PredictedSegment(output),), list(range(held_blocks))
    return request


@pytest.mark.parametrize(
    ("free", "admitted"),
    [(1, set()), (2, {"next-chunk"}), (5, {"next-chunk"}), (6, {"next-chunk", "whole-context"}), (9, set(ADMISSIONS))],
)
def test_a_chunk_needs_less_room_than_a_context_and_that_less_than_what_is_predicted(free: int, admitted: set[str]):
    """Blocks of 10 tokens, chunks of 20; 60 tokens known and 10 more predicted; one that runs is predicted to want two more."""
    asking, running = request_of(60, output=10), request_of(30, output=20, held_blocks=3)
    room = Room(free, 0, 0, 10, 20, [running])
    assert {name for name, admits in ADMISSIONS.items() if admits(asking, room)} == admitted


def test_what_is_held_or_was_found_already_needs_no_room():
    asking = request_of(60)
    assert ADMISSIONS["whole-context"](asking, Room(2, 4, 40, 10, 20, ()))
    assert ADMISSIONS["next-chunk"](asking, Room(2, 4, 40, 10, 20, ()))
    assert not ADMISSIONS["next-chunk"](asking, Room(1, 4, 40, 10, 20, ()))


def test_an_idle_device_admits_a_request_that_is_predicted_to_outgrow_it():
    asking = request_of(60, output=1000)
    assert ADMISSIONS["predicted-peak"](asking, Room(6, 0, 0, 10, 20, ()))
    assert not ADMISSIONS["predicted-peak"](asking, Room(6, 0, 0, 10, 20, [request_of(10, held_blocks=1)]))
