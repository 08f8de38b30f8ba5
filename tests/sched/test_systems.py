"""What the named systems do differently, seen from outside: a scheduler, its requests, and what becomes of them."""

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import SeenSegment
from lamps_jax.sched.handling import SLACK
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sched.segments import PredictedSegment
from tests.sched.drive import make_request, make_scheduler
from tests.sched.test_scheduler import turn

COSTS = CostModel(0.01, 0.001, 0.0, 0.001, 0.001)


class Known:
    """A predictor that was told."""

    def __init__(self, **estimates: tuple[PredictedSegment, ...]):
        self.estimates = estimates

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        return self.estimates[request.request_id][request.num_calls :]

    def observe(self, request: Request, segment: SeenSegment) -> None:
        del request, segment


def scheduler_of(policy: str, predictor: Known, **options: object) -> Scheduler:
    scheduler = make_scheduler(policy=policy, cost_model=COSTS, **({"max_num_seqs": 1, "max_chunk_tokens": 16} | options))
    return Scheduler(scheduler.config, scheduler.blocks, COSTS, predictor)


def add(scheduler: Scheduler, name: str, num_tokens: int = 8, *, program_id: str = "") -> Request:
    request = make_request(name, num_tokens)
    request.program_id = program_id
    scheduler.add(request)
    return request


def finish_order(scheduler: Scheduler, lengths: dict[str, int]) -> list[str]:
    """The order in which requests end that sample so many tokens each."""
    ended: list[str] = []
    for _ in range(400):
        turn(scheduler)
        for request in scheduler.requests():
            if request.num_sampled_tokens >= lengths[request.request_id]:
                scheduler.finish(request.request_id, FinishReason.STOP, 0.0)
                ended.append(request.request_id)
        scheduler.check()
        if len(ended) == len(lengths):
            break
    return ended


ENDS = {"long": (PredictedSegment(20),), "short": (PredictedSegment(2),), "middle": (PredictedSegment(9),)}
LENGTHS = {"long": 20, "short": 2, "middle": 9}


@pytest.mark.parametrize("policy", ["lamps", "oracle", "sjf", "sjf-total", "srpt", "lamps-artifact"])
def test_the_shortest_of_those_that_wait_is_served_first(policy: str):
    scheduler = scheduler_of(policy, Known(**ENDS))
    for name in ENDS:
        add(scheduler, name)
    order = finish_order(scheduler, LENGTHS)
    if policy == "lamps-artifact":  # its score counts whole blocks of 64 tokens, in which all three are alike
        assert order == ["long", "short", "middle"]
    else:
        assert order == ["short", "middle", "long"]


@pytest.mark.parametrize("policy", ["lamps-nosched", "infercept", "vllm", "continuum"])
def test_systems_without_a_score_serve_in_order_of_arrival(policy: str):
    scheduler = scheduler_of(policy, Known(**ENDS))
    for name in ENDS:
        add(scheduler, name)
    assert finish_order(scheduler, LENGTHS) == ["long", "short", "middle"]


@pytest.mark.parametrize("threshold", [0, 10])
def test_a_long_request_is_overtaken_by_all_that_come_unless_it_is_guarded(threshold: int):
    predictor = Known(long=(PredictedSegment(20),), **{f"s{n}": (PredictedSegment(2),) for n in range(30)})
    scheduler = scheduler_of("lamps", predictor, starvation_threshold=threshold)
    add(scheduler, "s0")
    turn(scheduler)
    long = add(scheduler, "long")
    for number in range(1, 30):
        add(scheduler, f"s{number}")
        for _ in range(2):
            turn(scheduler)
            for request in scheduler.requests():
                if request is not long and request.num_sampled_tokens >= 2:
                    scheduler.finish(request.request_id, FinishReason.STOP, 0.0)
    assert long.is_promoted is (threshold > 0)
    assert bool(long.num_computed_tokens) is (threshold > 0)


@pytest.mark.parametrize("preempts", [True, False])
def test_a_shorter_request_takes_the_place_of_a_running_one_only_where_ranks_preempt(preempts: bool):
    scheduler = scheduler_of("lamps", Known(**ENDS), rank_preemption=preempts)
    long = add(scheduler, "long")
    turn(scheduler)
    add(scheduler, "short")
    turn(scheduler)
    assert (long.state is RequestState.WAITING) is preempts


def in_a_call(policy: str, duration_s: float, *, num_host_blocks: int = 0, **options: object) -> tuple[Scheduler, Request]:
    predictor = Known(r=(PredictedSegment(1, duration_s, 1), PredictedSegment(1)))
    base = make_scheduler(policy=policy, cost_model=COSTS, num_host_blocks=num_host_blocks, **options)
    scheduler = Scheduler(base.config, base.blocks, COSTS, predictor)
    request = add(scheduler, "r", 20)
    while not request.num_sampled_tokens:
        turn(scheduler)
    scheduler.api_called("r", 1.0, tool="search")
    return scheduler, request


@pytest.mark.parametrize(("duration_s", "handling"), [(0.001, Handling.PRESERVE), (50.0, Handling.DISCARD)])
def test_lamps_applies_at_the_call_what_it_chose_before_the_request_ran(duration_s: float, handling: Handling):
    _, request = in_a_call("lamps", duration_s)
    assert request.handling is handling
    assert bool(request.block_ids) is (handling is Handling.PRESERVE)


def test_lamps_swaps_where_copies_are_cheap_and_there_is_a_host():
    cheap = CostModel(0.01, 0.01, 0.0, 0.0, 1e-6)
    predictor = Known(r=(PredictedSegment(1, 50.0, 1), PredictedSegment(1)))
    base = make_scheduler(policy="lamps", num_host_blocks=20)
    request = add(Scheduler(base.config, base.blocks, cheap, predictor), "r", 20)
    assert request.estimate[0].handling is Handling.SWAP


def test_infercept_keeps_a_call_until_what_has_elapsed_of_it_wastes_more_than_computing_again():
    scheduler, request = in_a_call("infercept", 50.0)
    scheduler.schedule(1.0)
    assert request.block_ids
    scheduler.schedule(20.0)
    assert not request.block_ids


def test_infercept_that_knows_durations_lets_a_long_call_go_at_once():
    scheduler, request = in_a_call("infercept", 50.0, call_duration="expected")
    scheduler.schedule(1.0)
    assert not request.block_ids


def test_infercept_spends_its_swap_budget_before_it_discards():
    scheduler, request = in_a_call("infercept", 50.0, num_host_blocks=20)
    for now in range(2, 12):
        scheduler.schedule(float(now))
    assert request.handling is Handling.SWAP
    assert (request.block_ids, len(request.host_block_ids)) == ([], 5)


def test_continuum_gives_up_what_it_kept_when_its_time_is_over():
    scheduler, first = in_a_call("continuum", 1.0)
    assert first.block_ids
    assert first.keep_until_s is not None
    assert scheduler.next_wake_s() == first.keep_until_s
    scheduler.schedule(first.keep_until_s)
    assert not first.block_ids


def test_continuum_keeps_blocks_no_longer_than_the_durations_of_the_tool_justify():
    scheduler, _ = in_a_call("continuum", 1.0)
    for duration_s in (0.001,) * 9 + (1000.0,):
        scheduler.call_history.observe("search", duration_s)
    scheduler.finish("r", FinishReason.STOP, 2.0)
    request = add(scheduler, "r", 20)
    while not request.num_sampled_tokens:
        turn(scheduler)
    scheduler.api_called("r", 5.0, tool="search")
    assert request.keep_until_s == pytest.approx(5.0 + 0.001 * SLACK)


def test_lazily_applied_handlings_spare_the_call_that_wastes_most_until_memory_is_wanted():
    names = {"small": 8, "large": 24}
    predictor = Known(**{name: (PredictedSegment(1, 50.0, 1), PredictedSegment(1)) for name in names})
    base = make_scheduler(policy="lamps", cost_model=COSTS, apply_handling="lazily")
    scheduler = Scheduler(base.config, base.blocks, COSTS, predictor)
    small, large = (add(scheduler, name, size) for name, size in names.items())
    while not (small.num_sampled_tokens and large.num_sampled_tokens):
        turn(scheduler)
    for name in names:
        assert scheduler.api_called(name, 1.0) is Handling.PRESERVE
    scheduler.schedule(2.0)
    assert not small.block_ids
    assert large.block_ids
