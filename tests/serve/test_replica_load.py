from collections.abc import Callable
from itertools import pairwise

import pytest

from lamps_jax.engine.engine import Engine
from lamps_jax.sched.memory_over_time import Pace, Progress, remaining_footprint
from lamps_jax.sched.request import SamplingParams
from lamps_jax.sched.scheduler import TOKENS_ALONE
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.serve.replica_load import load_of
from tests.fakes import make_engine

CALLS = "What is 48*37?"


def add(engine: Engine, prompt: str = "hello", **sampling: int) -> str:
    return engine.add(engine.tokenizer.encode_text(prompt), SamplingParams(**sampling), on_event=lambda event: None)


def step_until(engine: Engine, holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        if not engine.step():
            engine.wait(0.05)
    raise AssertionError("that does not happen")


def test_an_idle_engine_has_nothing_to_do():
    load = load_of(make_engine(), clock=lambda: 7.0)
    assert (load.measured_s, load.predicted_token_s, load.num_requests, load.num_waiting, load.occupancy) == (7.0, 0, 0, 0, 0.0)


@pytest.mark.parametrize("policy", ["preserve", "lamps"])
def test_a_request_that_waits_takes_what_the_formula_says_whether_the_policy_predicts_or_not(policy: str):
    engine = make_engine(policy=policy)
    add(engine, max_tokens=20)
    (request,) = engine.scheduler.requests()
    pace = Pace(TOKENS_ALONE, engine.scheduler.blocks.block_size, chunk_tokens=64)
    alone = remaining_footprint(pace, Progress(len(request.token_ids)), (PredictedSegment(20),))
    load = load_of(engine)
    assert load.predicted_token_s == pytest.approx(alone.token_s)
    assert (load.num_requests, load.num_waiting) == (1, 1)


def test_what_is_left_to_do_shrinks_with_every_token_and_grows_with_every_request():
    engine = make_engine()
    add(engine, max_tokens=12, ignore_eos=True)
    (request,) = engine.scheduler.requests()
    seen = []
    while engine.scheduler.requests():
        seen.append((request.num_sampled_tokens, load_of(engine).predicted_token_s))
        engine.step()
    seen = list(dict(seen).items())
    assert len(seen) >= 10
    assert all(later < earlier for (_, earlier), (_, later) in pairwise(seen))
    add(engine, max_tokens=12)
    one = load_of(engine).predicted_token_s
    add(engine, max_tokens=12)
    assert load_of(engine).predicted_token_s > one
    engine.fail_all("over")


@pytest.mark.parametrize("policy", ["preserve", "vllm", "lamps", "infercept"])
def test_a_request_whose_tool_runs_is_still_to_come_back(policy: str):
    engine = make_engine(policy=policy)
    add(engine, CALLS, max_tokens=100)
    loads = []

    def is_over() -> bool:
        loads.append(load_of(engine))
        return not engine.scheduler.requests()

    step_until(engine, is_over)
    assert all(load.predicted_token_s > 0 for load in loads if load.num_requests)
    assert loads[-1].predicted_token_s == 0


def test_occupancy_is_the_share_of_blocks_that_are_held():
    engine = make_engine(max_num_seqs=2, max_model_len=256)
    add(engine, "x" * 100, max_tokens=8)
    engine.step()
    held = engine.scheduler.blocks.num_blocks - 1 - engine.scheduler.blocks.num_free_blocks
    assert held > 0
    assert load_of(engine).occupancy == pytest.approx(held / (engine.scheduler.blocks.num_blocks - 1))
    engine.fail_all("over")
