from dataclasses import fields

import pytest

from lamps_jax.sched.admission import Room
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.footprint import Footprint
from lamps_jax.sched.handling import Call
from lamps_jax.sched.policy import SYSTEMS, System, system_named
from lamps_jax.sched.request import Handling, Program, Request, SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.sched.surroundings import Surroundings

every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
AROUND = Surroundings(5.0, CostModel(10e-3, 40e-6, 1e-8, 1e-4, 3e-3), 16, 384, 384, 8, 4000, can_swap=True)


def request_with(order: int, queued_order: int, *, output: float = 10, call_s: float = 1.0) -> Request:
    request = Request(f"r{order}", 0.0, [1] * 100, SamplingParams())
    request.order, request.queued_order = order, queued_order
    request.estimate = PredictedSegment(output, call_s, 5), PredictedSegment(output)
    request.footprint = Footprint(output * 100, output + call_s, output + 100, token_steps=output * 100, num_steps=output)
    return request


def first(system: System, *requests: Request) -> Request:
    return min(requests, key=lambda request: (*system.rank(request, AROUND), request.order))


def test_an_unknown_policy_is_refused_with_the_names_of_those_that_exist():
    with pytest.raises(ValueError, match=r"'fcfs'; known are .*preserve.*vllm.*lamps"):
        system_named("fcfs")


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_found_by_its_name_and_says_in_a_line_what_it_does(name: str):
    system = system_named(name)
    assert system is SYSTEMS[name]
    assert len(system.summary.splitlines()) == 1


@every_system
def test_rules_neither_change_the_request_nor_their_mind(system: System):
    request, same = request_with(3, 8), request_with(3, 8)
    room, call = Room(3, 1, 16, 16, 64, ()), Call(100, 2.0, (1.0, 2.0, 3.0))
    for _ in range(2):
        assert system.rank(request, AROUND) == system.rank(same, AROUND)
        assert system.handling(request, call, AROUND) == system.handling(same, call, AROUND)
        assert system.admits(request, room) is system.admits(same, room)
    names = [field.name for field in fields(Request)]
    assert [getattr(request, name) for name in names] == [getattr(same, name) for name in names]


@every_system
def test_among_equal_requests_that_never_called_the_first_to_come_is_served_first(system: System):
    requests = [request_with(order, order) for order in (4, 1, 3)]
    assert first(system, *requests) is requests[1]


@every_system
def test_an_empty_pool_admits_whatever_fits_and_a_full_one_nothing(system: System):
    request = request_with(0, 0)
    assert system.admits(request, Room(7, 0, 0, 16, 64, ()))
    assert not system.admits(request, Room(0, 0, 0, 16, 64, ()))


def test_only_vllm_sends_a_request_that_returns_from_a_call_behind_one_that_came_meanwhile():
    returned, newcomer = request_with(1, 9), request_with(5, 5)
    by_order = {name: system for name, system in SYSTEMS.items() if system.first_come}
    behind = {name for name, system in by_order.items() if first(system, returned, newcomer) is newcomer}
    assert behind == {"vllm", "vllm-prefix"}


@pytest.mark.parametrize("name", ["lamps", "lamps-artifact", "oracle", "sjf", "sjf-total", "srpt"])
def test_systems_that_predict_serve_the_shorter_of_two_requests_first(name: str):
    longer, shorter = request_with(1, 1, output=500), request_with(2, 2, output=20)
    assert first(SYSTEMS[name], longer, shorter) is shorter


def test_only_the_size_with_the_call_minds_how_long_a_call_takes_that_holds_no_memory():
    slow, quick = request_with(1, 1, call_s=64.0), request_with(2, 2, call_s=0.5)
    systems = {name: SYSTEMS[name] for name in ("sjf", "sjf-total", "srpt")}
    minds = {name for name, system in systems.items() if first(system, slow, quick) is quick}
    assert minds == {"sjf-total"}


def test_least_attained_service_counts_the_whole_session():
    seasoned, fresh = request_with(1, 1), request_with(2, 2)
    seasoned.program, fresh.program = Program(1, num_serviced_tokens=5000), Program(2)
    assert first(SYSTEMS["plas"], seasoned, fresh) is fresh
    assert first(SYSTEMS["mlfq"], seasoned, fresh) is seasoned
    seasoned.num_tokens_once_computed = 5000
    assert first(SYSTEMS["mlfq"], seasoned, fresh) is fresh


def test_a_session_keeps_its_first_requests_place():
    early, late = request_with(7, 7), request_with(5, 5)
    early.program, late.program = Program(2), Program(5)
    assert first(SYSTEMS["continuum"], early, late) is early


def test_lamps_keeps_short_calls_on_the_device_and_lets_the_context_of_long_ones_go():
    request = request_with(1, 1)
    quick, slow = Call(1000, 1e-4), Call(1000, 60.0)
    rule = SYSTEMS["lamps"].handling
    assert rule(request, quick, AROUND).handling is Handling.PRESERVE
    assert rule(request, slow, AROUND._replace(can_swap=False)).handling is Handling.DISCARD


def test_a_time_to_live_is_as_long_as_the_calls_that_are_worth_waiting_for():
    """Nine calls of 0.1 s and one of an hour: waiting for the nine wastes less than computing again."""
    rule, request = SYSTEMS["continuum"].handling, request_with(1, 1)
    mostly_short = rule(request, Call(2000, None, (*[0.1] * 9, 3600.0)), AROUND)
    assert mostly_short.handling is Handling.PRESERVE
    assert mostly_short.keep_s == pytest.approx(0.105)
    assert rule(request, Call(2000, None, [3600.0] * 10), AROUND).handling is Handling.DISCARD
    unknown = rule(request, Call(2000), AROUND)
    assert unknown.handling is Handling.PRESERVE
    assert unknown.keep_s == pytest.approx(unknown.waste_token_s / 2000)
