import pytest

from lamps_jax.sched.policy import SYSTEMS, System, system_named
from lamps_jax.sched.request import Handling, Request, SamplingParams

every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))


def request_with(order: int, queued_order: int) -> Request:
    request = Request(f"r{order}", 0.0, [1], SamplingParams())
    request.order, request.queued_order = order, queued_order
    return request


def test_an_unknown_policy_is_refused_with_the_names_of_those_that_exist():
    with pytest.raises(ValueError, match=r"'fcfs'; known are .*preserve.*vllm"):
        system_named("fcfs")


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_found_by_its_name_and_says_in_a_line_what_it_does(name: str):
    system = system_named(name)
    assert system is SYSTEMS[name]
    assert len(system.summary.splitlines()) == 1


@every_system
def test_rules_neither_change_the_request_nor_their_mind(system: System):
    request, same = request_with(3, 8), request_with(3, 8)
    for _ in range(2):
        assert system.order_key(request) == system.order_key(same)
        assert system.handling(request) is system.handling(same)
        assert system.admits(request, 2, 3) is system.admits(same, 2, 3)
    fields = [name for name in Request.__slots__ if name != "sampling"]
    assert [getattr(request, name) for name in fields] == [getattr(same, name) for name in fields]


@every_system
def test_among_requests_that_never_called_the_first_to_come_is_served_first(system: System):
    requests = [request_with(order, order) for order in (4, 1, 3)]
    assert [request.order for request in sorted(requests, key=system.order_key)] == [1, 3, 4]


@every_system
def test_an_empty_pool_admits_whatever_fits_and_a_full_one_nothing(system: System):
    request = request_with(0, 0)
    assert system.admits(request, 5, 5)
    assert not system.admits(request, 1, 0)


def test_only_vllm_sends_a_request_that_returns_from_a_call_behind_one_that_came_meanwhile():
    returned, newcomer = request_with(1, 9), request_with(5, 5)
    first = {name: min((returned, newcomer), key=system.order_key) for name, system in SYSTEMS.items()}
    assert {name for name, request in first.items() if request is newcomer} == {"vllm"}


def test_only_preserve_keeps_blocks_during_a_call():
    request = request_with(0, 0)
    kept = {name for name, system in SYSTEMS.items() if system.handling(request) is Handling.PRESERVE}
    assert kept == {"preserve"}
