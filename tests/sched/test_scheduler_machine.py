"""Random lives of many requests in small pools, over every named system, against the naive loop that knows no scheduler."""

import functools
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.policy import SYSTEMS
from tests.properties import examples
from tests.sched.drive import Drive

SLOW_LINK, FAST_LINK = CostModel(1.0, 0.1, 0.0, 0.0, 1.0), CostModel(1.0, 0.1, 0.01, 0.1, 0.2)
"""Steps that hide a copy or two, and steps that hide a dozen."""

every_system = pytest.mark.parametrize("system", SYSTEMS)


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        system=st.sampled_from(list(SYSTEMS)),
        block_size=st.integers(1, 5),
        spare_blocks=st.integers(0, 12),
        max_num_seqs=st.integers(1, 5),
        spare_budget=st.integers(0, 12),
        max_chunk_tokens=st.integers(1, 12),
        max_model_len=st.integers(2, 28),
        num_host_blocks=st.just(0) | st.integers(1, 14),
        cost_model=st.sampled_from([None, SLOW_LINK, FAST_LINK]),
        prefix_cache=st.booleans(),
        preserve_limit_s=st.sampled_from([None, 0.0, 4.0]),
        with_clients=st.booleans(),
        client_keep_s=st.sampled_from([0.0, 2.0, 1000.0]),
    )
    def start(
        self,
        system: str,
        block_size: int,
        spare_blocks: int,
        max_num_seqs: int,
        spare_budget: int,
        max_chunk_tokens: int,
        max_model_len: int,
        num_host_blocks: int,
        cost_model: CostModel | None,
        prefix_cache: bool,
        preserve_limit_s: float | None,
        with_clients: bool,
        client_keep_s: float,
    ) -> None:
        config = SchedulerConfig(
            prefix_cache=prefix_cache,
            preserve_limit_s=preserve_limit_s,
            client_keep_s=client_keep_s,
            policy=system,
            token_budget=max_num_seqs + spare_budget,
            max_chunk_tokens=max_chunk_tokens,
            max_num_seqs=max_num_seqs,
            max_model_len=max_model_len,
        )
        num_blocks = -(-max_model_len // block_size) + 1 + spare_blocks
        self.drive = Drive(config, block_size, num_blocks, num_host_blocks, cost_model, with_clients=with_clients)

    @rule(length=st.integers(1, 20), first=st.just(100) | st.integers(100, 10_000), max_tokens=st.none() | st.integers(1, 16))
    def arrive(self, length: int, first: int, max_tokens: int | None) -> None:
        length = min(length, self.drive.config.max_model_len - 1)
        self.drive.arrive(list(range(first, first + length)), max_tokens)

    @precondition(lambda self: self.drive.live)
    @rule(which=st.integers(0, 100), max_tokens=st.none() | st.integers(1, 16))
    def fork(self, which: int, max_tokens: int | None) -> None:
        self.drive.fork(list(self.drive.live)[which % len(self.drive.live)], max_tokens)

    @rule(times=st.integers(1, 6))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.drive.step()

    @precondition(lambda self: self.drive.paused)
    @rule(which=st.integers(0, 100))
    def api_return(self, which: int) -> None:
        self.drive.api_return(self.drive.paused[which % len(self.drive.paused)])

    @precondition(lambda self: len(self.drive.paused) > 1)
    @rule()
    def every_api_returns(self) -> None:
        for request_id in list(self.drive.paused):
            self.drive.api_return(request_id)

    @precondition(lambda self: self.drive.awaited)
    @rule(by_id=st.booleans())
    def client_returns(self, by_id: bool) -> None:
        self.drive.client_return(by_id=by_id)

    @rule(every=st.integers(1, 3), way=st.sampled_from(["in", "out"]))
    def copies_fail_for_a_step(self, every: int, way: str) -> None:
        self.drive.step_with_failing_copies(every, way)

    @precondition(lambda self: self.drive.live)
    @rule(which=st.integers(0, 100))
    def abort(self, which: int) -> None:
        self.drive.abort(list(self.drive.live)[which % len(self.drive.live)])

    def teardown(self) -> None:
        if hasattr(self, "drive"):
            self.drive.drain()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)


@functools.cache
def busy_hour(system: str, seed: int, num_host_blocks: int = 0) -> Drive:
    """A crowd of requests in a pool of two full ones; calls return when they like."""
    rng = random.Random(seed)
    config = SchedulerConfig(
        policy=system, token_budget=10, max_chunk_tokens=6, max_num_seqs=5, max_model_len=30, prefix_cache=seed % 2 == 0
    )
    drive = Drive(config, 3, 21, num_host_blocks, SLOW_LINK if num_host_blocks else None)
    for _ in range(250):
        if rng.random() < 0.2:
            first = rng.choice([100, rng.randrange(100, 10_000)])
            drive.arrive(list(range(first, first + rng.randint(1, 15))), rng.choice([None, None, 5, 12]))
        for request_id in list(drive.paused):
            if rng.random() < 0.1:
                drive.api_return(request_id)
        if drive.live and rng.random() < 0.03:
            drive.abort(rng.choice(list(drive.live)))
        drive.step()
    drive.drain()
    return drive


@every_system
def test_every_request_of_a_busy_hour_ends_with_the_tokens_it_has_when_alone(system: str):
    for seed in range(4):
        drive = busy_hour(system, seed)
        assert len(drive.finished) > 20


@every_system
def test_a_busy_hour_sees_preemptions_stale_samples_rewritten_tokens_and_every_kind_of_finish(system: str):
    drives = [busy_hour(system, seed) for seed in range(4)]
    assert sum(drive.scheduler.num_preemptions for drive in drives) > 10
    assert sum(drive.num_stale for drive in drives) > 20
    assert sum(drive.num_rewritten for drive in drives) > 10
    reasons = {request.finish_reason for drive in drives for request in drive.finished.values()}
    assert {reason.value for reason in reasons if reason} == {"stop", "length"}


@pytest.mark.parametrize("system", ["preserve", "swap"])
def test_a_busy_hour_with_a_host_tier_swaps_out_and_in_and_fetches_ahead(system: str):
    drives = [busy_hour(system, seed, 16) for seed in range(4)]
    plans = [plan for drive in drives for plan in drive.device.plans]
    assert sum(len(plan.swap_outs) for plan in plans) > 50
    assert sum(len(plan.swap_ins) for plan in plans) > 30
    assert sum(drive.scheduler.memory.num_found_tokens for drive in drives) > 100


def test_paused_requests_lose_their_blocks_in_a_busy_hour_of_the_preserve_system():
    assert sum(busy_hour("preserve", seed).num_discarded_while_paused for seed in range(4)) > 5


@pytest.mark.parametrize("system", [name for name, system in SYSTEMS.items() if not system.prefix_cache])
def test_recomputed_tokens_are_counted_only_when_something_was_computed_twice(system: str):
    drive = busy_hour(system, 7)
    times: dict[str, list[int]] = {}
    for plan in drive.device.plans:
        for chunk in plan.prefills:
            times.setdefault(chunk.request_id, []).extend(range(chunk.start, chunk.start + len(chunk.token_ids)))
        for decode in plan.decodes:
            times.setdefault(decode.request_id, []).append(decode.position)
    for request_id, request in drive.finished.items():
        computed = times[request_id]
        assert request.num_recomputed_tokens == len(computed) - len(set(computed))
