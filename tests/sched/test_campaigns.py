"""Long random campaigns in the tightest circumstances: one block of host, budgets of two copies, forks, aborts, failing copies.

Each seed is a campaign of its own; what goes wrong in it can be run again. The state machine beside this file finds smaller
examples.
"""

import random
from typing import Any

import pytest

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.policy import SYSTEMS
from tests.sched.drive import Drive

COSTS = (
    None,
    CostModel(1.0, 0.1, 0.0, 0.0, 1.0),
    CostModel(1.0, 0.1, 0.01, 0.1, 0.2),
    CostModel(0.0, 0.0, 0.0, 0.0, 10.0),
    CostModel(0.1, 0.0, 0.0, 0.05, 0.02),
)
OPTIONS: dict[str, list[Any]] = {
    "admission": ["whole-context", "next-chunk", "predicted-peak"],
    "starvation_threshold": [0, 1, 5],
    "starvation_scope": ["waiting", "started"],
    "rank_refresh_steps": [0, 1, 3],
    "rank_preemption": [True, False],
    "apply_handling": ["at-call", "lazily"],
    "lookahead": ["next-call", "program", "gittins"],
    "call_duration": ["expected", "elapsed"],
    "aging": [0.0, 1.0, 4.0],
    "aging_s": [0.1, 100.0],
    "call_costs": ["marginal", "paper"],
    "demotion": ["on-demand", "ahead"],
    "program_limit": ["aimd"],
}
"""Any policy can be run with any of them."""
TEXTS = [list(range(first, first + 30)) for first in (100, 100, 200)]
"""Prompts are beginnings of these, so that many are alike."""


def some_drive(rng: random.Random) -> Drive:
    max_num_seqs, max_model_len, block_size = (
        rng.choice([1, 2, 3, 5, 8]),
        rng.choice([3, 6, 12, 20, 28]),
        rng.choice([1, 1, 2, 3, 4]),
    )
    config = SchedulerConfig(
        policy=rng.choice(list(SYSTEMS)),
        token_budget=max_num_seqs + rng.choice([0, 0, 1, 5, 12]),
        max_chunk_tokens=rng.choice([1, 2, 4, 12]),
        max_num_seqs=max_num_seqs,
        max_model_len=max_model_len,
        prefix_cache=rng.random() < 0.6,
        client_keep_s=rng.choice([0.0, 3.0, 1000.0]),
        preserve_limit_s=rng.choice([None, None, 0.0, 1.0, 4.0]),
        **{name: rng.choice(choices) for name, choices in OPTIONS.items() if rng.random() < 0.4},
    )
    num_blocks = -(-max_model_len // block_size) + 1 + rng.choice([0, 0, 1, 2, 4, 8, 16])
    host_blocks, cost_model = rng.choice([0, 1, 1, 2, 3, 6, 14, 40]), rng.choice(COSTS)
    return Drive(config, block_size, num_blocks, host_blocks, cost_model, with_clients=rng.random() < 0.9)


def some_prompt(rng: random.Random, max_model_len: int) -> list[int]:
    prompt = rng.choice(TEXTS)[: rng.randint(1, max_model_len - 1)]
    if rng.random() < 0.3:  # a beginning that ends in its own way
        prompt = prompt[: max(1, len(prompt) - rng.randint(0, 3))] + [rng.randrange(1000, 1003) for _ in range(2)]
    return prompt[: max_model_len - 1]


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 150), marks=pytest.mark.slow)], ids=["some", "more"])
def test_every_request_of_a_campaign_ends_with_the_tokens_it_has_when_alone(seeds: range) -> None:
    num_taken_over = 0
    for seed in seeds:
        rng = random.Random(seed)
        drive = some_drive(rng)
        arrives, returns = rng.choice([0.1, 0.3, 0.6]), rng.choice([0.05, 0.2, 0.5])
        fails, aborts, forks = rng.choice([0, 0, 0.1, 0.3]), rng.choice([0, 0.03, 0.1]), rng.choice([0, 0.05, 0.2])
        for _ in range(rng.choice([60, 150])):
            if rng.random() < arrives and len(drive.live) < 30:
                drive.arrive(some_prompt(rng, drive.config.max_model_len), rng.choice([None, None, 1, 5, 12]))
            if drive.live and rng.random() < forks:
                for _ in range(rng.choice([1, 1, 3])):
                    drive.fork(rng.choice(list(drive.live)), rng.choice([None, 1, 5, 12]))
            for request_id in list(drive.paused):
                if rng.random() < returns:
                    drive.api_return(request_id)
            for _ in range(len(drive.awaited)):
                if rng.random() < returns:
                    drive.client_return(by_id=rng.random() < 0.5)
            if drive.live and rng.random() < aborts:
                drive.abort(rng.choice(list(drive.live)))
            if rng.random() < fails:
                drive.step_with_failing_copies(rng.randint(1, 3), rng.choice(["in", "out"]))
            else:
                drive.step()
        drive.drain()
        num_taken_over += drive.num_taken_over
    assert num_taken_over > len(seeds) // 30
