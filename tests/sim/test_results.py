"""What the results document says of a run, on outcomes made by hand."""

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.observer import ScriptOutcome
from lamps_jax.sim.results import slowdowns
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Arrival, Segment, Workload
from tests.sim.scripts import script

UNIT = Hardware("unit", "toy", CostModel(1.0, 0.0, 0.0, 0.0, 0.0), 4, 64, 64, 64, 8, 64)
"""Every step takes a second: a script of n tokens takes n seconds alone."""


def outcome(num_tokens: int, slowdown: float | None, request_type: str = "short", refused: str = "") -> ScriptOutcome:
    """A request that arrived at 10 s and took so many times longer than alone; None: it has not finished."""
    arrival = Arrival(10.0, script(Segment(num_tokens), request_type=request_type), 0)
    finished_s = None if slowdown is None else 10.0 + slowdown * num_tokens
    return ScriptOutcome(arrival, finished_s=finished_s, refused=refused)


def test_a_slowdown_is_a_latency_over_that_of_the_script_alone():
    told = slowdowns([outcome(2, 1.5), outcome(4, 2.5)], UNIT, end_s=100.0)
    assert told["slowdown"]["mean"] == pytest.approx(2.0)
    assert told["slowdown"]["p99"] == pytest.approx(2.5)


def test_slowdowns_are_told_by_type_with_who_has_finished():
    outcomes = [
        outcome(2, 1.5),
        outcome(2, None),
        outcome(8, 3.0, "long"),
        outcome(9, 99.0, "long"),
        outcome(2, None, refused="x"),
    ]
    told = slowdowns(outcomes, UNIT, end_s=100.0)["slowdown_by_type"]
    assert (told["short"]["arrived"], told["short"]["finished"], told["short"]["slowdown"]["mean"]) == (2, 1, 1.5)
    assert (told["long"]["arrived"], told["long"]["finished"], told["long"]["slowdown"]["mean"]) == (2, 1, 3.0)


def test_a_decile_holds_a_tenth_of_the_arrivals_from_the_shortest_to_the_longest():
    lengths = [7, 3, 12, 1, 20, 9, 15, 2, 5, 18, 4, 10, 8, 14, 6, 11, 19, 13, 17, 16]
    told = slowdowns([outcome(length, float(length)) for length in lengths], UNIT, end_s=1000.0)["slowdown_by_decile"]
    assert [each["arrived"] for each in told] == [2] * 10
    assert [each["isolated_s"]["mean"] for each in told] == pytest.approx([1.5 + 2 * place for place in range(10)])
    assert [each["slowdown"]["mean"] for each in told] == pytest.approx([1.5 + 2 * place for place in range(10)])


def test_a_drained_run_tells_what_it_finished_a_second_within_its_window():
    workload = Workload("two", (script(Segment(3)), script(Segment(3))), (0.0, 8.0))
    spec = RunSpec(workload, UNIT, UNIT.scheduler_config("preserve"), None, arrivals="trace", window_s=10.0, drain=True)
    run = simulate(spec)
    assert run["finished"] == 2
    assert run["window_throughput_rps"] == pytest.approx(1 / 10.0)
