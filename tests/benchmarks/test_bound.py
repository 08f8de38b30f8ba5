"""The bound on the mean latency is one: no schedule of a small machine, and no system of the report, is below it."""

import itertools
import json
import random

import pytest

from benchmarks.beyond import bound, cases
from benchmarks.beyond.__main__ import RESULTS
from benchmarks.beyond.bound import Stretch, Task, _least_chunks, least_mean_s, mean_busy_s, stretches_of
from benchmarks.beyond.cases import RELEASED, WHOLE, drained
from benchmarks.reproduction.case import GPTJ, VICUNA
from benchmarks.reproduction.pool import Committed
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.isolated import isolated_s
from lamps_jax.sim.sweep import simulate_all
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span


def weighted(tasks: list[Task], busy_s: list[float]) -> float:
    return sum(mean_s * task.work_s / task.rank for task, mean_s in zip(tasks, busy_s, strict=True))


def least_of_all_schedules(tasks: list[Task], end: int) -> float:
    """By trying, in each second up to `end`, every task or none."""
    sums = []
    for schedule in itertools.product(range(-1, len(tasks)), repeat=end):
        times = [[second for second, who in enumerate(schedule) if who == place] for place in range(len(tasks))]
        if all(
            len(mine) == task.work_s and (not mine or mine[0] >= task.release_s) for mine, task in zip(times, tasks, strict=True)
        ):
            sums.append(weighted(tasks, [sum(mine) / len(mine) + 0.5 for mine in times]))
    return min(sums)


@pytest.mark.parametrize("seed", range(12))
def test_no_schedule_of_whole_seconds_has_a_lower_sum_of_mean_times(seed: int) -> None:
    draw = random.Random(seed)
    tasks = [Task(draw.randrange(3), draw.choice((1.0, 2.0, 3.0, 5.0)), draw.randrange(1, 3)) for _ in range(3)]
    assert weighted(tasks, mean_busy_s(tasks)) == pytest.approx(least_of_all_schedules(tasks, 8))


def test_the_stretches_of_a_script_lie_within_its_isolated_time() -> None:
    machine = HARDWARE[GPTJ]
    script = Script("any", (Span(500),), (Segment(20, Call("tool", 7.0, 30)), Segment(10)))
    first, second = stretches_of(script, machine)
    alone_s = isolated_s(script, machine)
    assert first.before_s == 0.0
    assert second.before_s + second.after_s < alone_s < first.after_s + first.before_s + 2.0
    assert second.before_s > 7.0
    share = 9 / (machine.num_blocks - 1)
    assert second.work_s > 10 * machine.cost_model.forward_base_s * share > 0.0


def test_a_script_whose_client_runs_a_call_is_refused() -> None:
    script = Script("any", (Span(5),), (Segment(2, Call("tool", 1.0, 3, RunBy.CLIENT)), Segment(1)))
    with pytest.raises(ValueError, match="client"):
        list[Stretch](stretches_of(script, HARDWARE[GPTJ]))


@pytest.mark.parametrize(("hardware", "rate_rps"), [(GPTJ, 5.0), (VICUNA, 1.0)])
@pytest.mark.parametrize("policy", ["lamps-plus", "infercept", "oracle"])
def test_no_system_is_simulated_below_it(hardware: str, rate_rps: float, policy: str) -> None:
    case = drained(cases.QUICK, policy, hardware, rate_rps)
    (run,) = simulate_all([case.spec()], jobs=1)
    assert least_mean_s(case) < run["all_arrivals"]["e2e_s"]["mean"]


def test_no_run_of_the_report_is_below_the_committed_bounds() -> None:
    results = Committed(json.loads(RESULTS.read_text(encoding="utf-8")))
    bounds = {
        (run["hardware"], run["rate_rps"], run["seed"]): run["least_mean_s"]
        for run in json.loads(bound.RESULTS.read_text(encoding="utf-8"))["runs"]
    }
    num_compared = 0
    for _, hardware, rate, table in cases.overloads(WHOLE):
        for case in itertools.chain.from_iterable(table.values()):
            if case.prediction != "class-mean":  # those draw from half of the mixture
                assert results[case]["all_arrivals"]["e2e_s"]["mean"] > bounds[hardware, rate, case.seed]
                num_compared += 1
        assert least_mean_s(table[RELEASED][0]) == pytest.approx(bounds[hardware, rate, table[RELEASED][0].seed])
    assert num_compared == 6 * len(bounds)


@pytest.mark.parametrize(("held", "news", "most"), [(0, 9, 4), (3, 8, 4), (5, 1, 4), (2, 12, 5)])
def test_no_way_to_cut_a_prompt_asks_for_less_than_the_least_chunks(held: int, news: int, most: int) -> None:
    least = list(_least_chunks(held, news, most))
    assert sum(size for size, _ in least) == news and max(size for size, _ in least) <= most
    for inner in itertools.product((False, True), repeat=news - 1):  # after which tokens it is cut
        ends = [held + place for place, is_cut in enumerate(inner, start=1) if is_cut] + [held + news]
        if all(end - begin <= most for begin, end in itertools.pairwise([held, *ends])):
            assert len(ends) >= len(least)
            assert sum(ends) >= sum(end for _, end in least)
