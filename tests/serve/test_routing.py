from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamps_jax.serve import routing
from lamps_jax.serve.request_key import RequestKey
from lamps_jax.serve.routing import ReplicaLoad, Router

IDLE = {"a": ReplicaLoad(), "b": ReplicaLoad()}


def key(session: str = "", *, calls: tuple[str, ...] = (), text: str = "") -> RequestKey:
    return RequestKey(session.encode() or None, calls, tuple(text[: at + 1].encode() for at in range(len(text))))


def loads(**token_s: float) -> dict[str, ReplicaLoad]:
    return {name: ReplicaLoad(predicted_token_s=value, num_requests=1) for name, value in token_s.items()}


def test_a_session_stays_where_it_began_even_if_that_has_more_to_do():
    router = Router()
    first = router.choose(key("one"), IDLE)
    busy = {name: replace(load, predicted_token_s=1e6 * (name == first)) for name, load in IDLE.items()}
    assert {router.choose(key("one"), busy) for _ in range(20)} == {first}


def test_a_session_whose_replica_is_gone_moves_and_stays_where_it_went():
    router = Router()
    first = router.choose(key("one"), IDLE)
    (other,) = IDLE.keys() - {first}
    assert router.choose(key("one"), {other: ReplicaLoad()}) == other
    assert router.choose(key("one"), IDLE) == other


def test_results_of_calls_go_to_the_replica_that_made_the_calls():
    router, asked = Router(), key()
    first = router.choose(asked, IDLE)
    router.called(asked, ["call_1"])
    router.finished(asked)
    router.called(asked, ["call_2"])  # too late: nobody knows any more whose it was
    busy = {name: replace(load, predicted_token_s=1e6 * (name == first)) for name, load in IDLE.items()}
    assert router.choose(key(calls=("call_0", "call_1")), busy) == first
    assert router.choose(key(calls=("call_2",)), busy) != first


def test_a_request_goes_where_most_of_its_beginning_was():
    router = Router()
    router.choose(key(text="abc"), {"a": ReplicaLoad()})
    router.choose(key(text="abcdef"), {"b": ReplicaLoad()})
    many = loads(a=100.0, b=101.0)
    assert router.choose(key(text="abcdeX"), many) == "b"
    assert router.choose(key(text="X"), many) == "a"


def test_a_common_beginning_gives_way_to_load_and_is_then_known_in_both_places():
    router = Router()
    router.choose(key(text="abc"), {"a": ReplicaLoad()})
    assert router.choose(key(text="abc"), loads(a=1000.0, b=1.0)) == "b"
    assert router.choose(key(text="abc"), loads(a=10.0, b=12.0)) == "a"
    assert router.choose(key(text="abc"), loads(a=14.0, b=12.0)) == "b"


def test_the_least_memory_over_time_is_chosen_before_the_shortest_queue():
    few_long = ReplicaLoad(predicted_token_s=500.0, num_requests=2, num_waiting=0)
    many_short = ReplicaLoad(predicted_token_s=80.0, num_requests=9, num_waiting=5)
    assert Router().choose(key(), {"long": few_long, "short": many_short}) == "short"


def test_equal_memory_is_told_apart_by_the_queue_then_by_sessions_then_by_the_pool():
    router = Router()
    assert router.choose(key(), {"a": ReplicaLoad(num_waiting=1), "b": ReplicaLoad()}) == "b"
    kept = key("kept")
    assert router.choose(kept, {"a": ReplicaLoad()}) == "a"
    router.finished(kept)
    sleepy = Router()
    assert sleepy.choose(key(), {"a": ReplicaLoad(occupancy=0.5), "b": ReplicaLoad(occupancy=0.2)}) == "b"
    assert router.choose(key("other"), {"a": ReplicaLoad(), "b": ReplicaLoad(measured_s=1e12)}) == "b"


def test_a_burst_between_two_reports_is_spread():
    router = Router()
    chosen = Counter(router.choose(key(f"session {at}"), IDLE) for at in range(20))
    assert chosen == {"a": 10, "b": 10}


def test_what_a_report_holds_already_is_not_counted_again():
    now = 100.0
    router = Router(clock=lambda: now)
    for _ in range(4):
        router.choose(key(), {"a": ReplicaLoad()})
    later = ReplicaLoad(measured_s=101.0, predicted_token_s=3.0, num_requests=4)
    assert router.choose(key(), {"a": later, "b": replace(later, predicted_token_s=3.5)}) == "a"


def test_requests_that_are_over_count_no_more():
    router, keys = Router(), [key() for _ in range(6)]
    for each in keys:
        router.choose(each, {"a": ReplicaLoad()})
    assert router.num_unfinished("a") == 6
    for each in (*keys, *keys):
        router.finished(each)
    assert router.num_unfinished("a") == 0


def test_choosing_again_for_a_request_takes_back_the_first_choice():
    router, again = Router(), key("one")
    first = router.choose(again, IDLE)
    (other,) = IDLE.keys() - {first}
    router.choose(again, {other: ReplicaLoad()})
    assert (router.num_unfinished(first), router.num_unfinished(other)) == (0, 1)


def test_a_replica_that_has_failed_gets_nothing_as_long_as_there_is_another():
    router = Router()
    first = router.choose(key("one"), IDLE)
    (other,) = IDLE.keys() - {first}
    failed = {first: ReplicaLoad(takes_requests=False), other: ReplicaLoad(predicted_token_s=1e6)}
    assert router.choose(key(), failed) == router.choose(key("one"), failed) == other
    assert router.choose(key(), {first: failed[first]}) == first


def test_without_a_replica_there_is_nothing_to_choose():
    with pytest.raises(ValueError, match="no replica"):
        Router().choose(key(), {})


def test_a_bound_below_the_least_load_is_refused():
    with pytest.raises(ValueError, match=r"at least 1.*got 0.5"):
        Router(bound=0.5)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch):
    for name in ("MAX_SESSIONS", "MAX_CALLS", "MAX_BEGINNINGS"):
        monkeypatch.setattr(routing, name, 3)
    router = Router()
    for at in range(5):
        asked = key(f"session {at}", text=str(at))
        router.choose(asked, {"a": ReplicaLoad()})
        router.called(asked, [f"call_{at}"])
    busy = loads(a=1000.0, b=1.0)
    assert router.choose(key("session 4"), busy) == "a"
    assert router.choose(key("session 0"), busy) == "b"


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e9), min_size=1),
    st.lists(st.text("xy", max_size=4), max_size=30),
    st.floats(1.0, 4.0),
)
def test_no_beginning_burdens_a_replica_beyond_the_bound(reported: dict[str, float], texts: list[str], bound: float):
    router = Router(bound=bound, clock=lambda: 1.0)
    replicas = {name: ReplicaLoad(predicted_token_s=token_s, num_requests=1) for name, token_s in reported.items()}
    mean = sum(reported.values()) / len(reported) or 1.0
    to_do = dict(reported)
    for text in texts:
        chosen = router.choose(key(text=text), replicas)
        assert to_do[chosen] <= (bound * min(to_do.values()) + mean) * (1 + 1e-9)
        to_do[chosen] += mean


class Cluster(RuleBasedStateMachine):
    """Replicas come and go while sessions are served."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.living, self.now = Router(clock=lambda: self.now), {"r0"}, 0.0
        self.num_born, self.at = 1, dict[str, str]()
        self.unfinished = dict[RequestKey, str]()

    @rule()
    def a_replica_is_born(self) -> None:
        self.living.add(f"r{self.num_born}")
        self.num_born += 1

    @precondition(lambda self: len(self.living) > 1)
    @rule(data=st.data())
    def a_replica_dies(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.living)))
        self.living.remove(name)
        for asked in [asked for asked, where in self.unfinished.items() if where == name]:
            self.router.finished(asked)
            del self.unfinished[asked]

    @rule(session=st.sampled_from(["", "s", "t", "u"]), text=st.text("xy", max_size=5), token_s=st.floats(0, 1e6), data=st.data())
    def a_request_comes(self, session: str, text: str, token_s: float, data: st.DataObject) -> None:
        self.now += 1.0
        busiest = data.draw(st.sampled_from(sorted(self.living)))
        replicas = {name: ReplicaLoad(self.now - 1.5, token_s * (name == busiest), 1) for name in self.living}
        asked = key(session, text=text)
        chosen = self.router.choose(asked, replicas)
        assert chosen in self.living
        if session:
            assert self.at.get(session) in (chosen, None) or self.at[session] not in self.living
            self.at[session] = chosen
        self.unfinished[asked] = chosen

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def a_request_ends(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(list(self.unfinished)))
        self.router.finished(asked)
        del self.unfinished[asked]

    @invariant()
    def requests_are_counted_where_they_are(self) -> None:
        counted = {name: self.router.num_unfinished(name) for name in self.living}
        assert {name: num for name, num in counted.items() if num} == Counter(self.unfinished.values())


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
