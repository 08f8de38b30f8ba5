"""The fit gives back the law that a simulated executor keeps, and a real executor serves as before afterwards."""

import random
from collections import deque
from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from lamps_jax.config import EngineConfig
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.engine.measure import MAX_VISITS, Measurement, MeasurementError, Point, measure_cost_model, num_context_tokens
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan, StepResult
from lamps_jax.sched.request import SamplingParams
from tests.factories import engine_config, gptj_config, lively_model

LAW = CostModel(2e-3, 50e-6, 3e-6, 400e-6, 90e-6)
CONFIG = engine_config(block_size=16, max_num_seqs=8, max_model_len=512, max_chunk_tokens=64)
NUM_BLOCKS = 8 * 32 + 1


@dataclass
class LawfulExecutor:
    """Takes, by its own clock, the time that a law says; a swap in is waited for by the next step with tokens.

    Attributes:
        noise: Standard deviation of each time, as a share of it.
    """

    law: CostModel = LAW
    noise: float = 0.0
    now: float = 0.0
    plans: list[StepPlan] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _running: deque[StepPlan] = field(default_factory=deque)

    def submit(self, plan: StepPlan) -> StepPlan:
        self.plans.append(plan)
        self._running.append(plan)
        return plan

    def collect(self, handle: StepPlan) -> StepResult:
        assert self._running.popleft() is handle, "steps are collected in the order in which they were submitted"
        took = self.law.swap_s(len(handle.swap_outs)) + self.law.swap_s(len(handle.swap_ins))
        if handle.num_tokens:
            took += self.law.forward_s(handle.num_tokens, num_context_tokens(handle))
        self.now += took * max(0.1, self._random.gauss(1.0, self.noise)) if self.noise else took
        return StepResult(handle.step_id, {})

    def clock(self) -> float:
        return self.now


def measured(executor: LawfulExecutor, config: EngineConfig = CONFIG, *, budget_s: float = 30.0, hosts: int = 64) -> Measurement:
    return measure_cost_model(
        executor, config, num_blocks=NUM_BLOCKS, num_host_blocks=hosts, budget_s=budget_s, clock=executor.clock
    )


def constants(model: CostModel) -> list[float]:
    return [getattr(model, name) for name in CostModel.__dataclass_fields__]


def test_fit_gives_back_the_law_of_the_executor() -> None:
    measurement = measured(LawfulExecutor())
    assert constants(measurement.cost_model) == pytest.approx(constants(LAW), rel=1e-6)
    for fit in (measurement.forward, measurement.swap):
        assert fit is not None
        assert fit.r_squared == pytest.approx(1.0)
        assert fit.max_relative_error < 1e-6


def test_noise_of_a_fifth_moves_predictions_by_less_than_a_tenth() -> None:
    measurement = measured(LawfulExecutor(noise=0.2))
    model = measurement.cost_model
    for tokens, context in ((64, 64), (64, 512), (8, 8 * 512), (1, 16)):
        assert model.forward_s(tokens, context) == pytest.approx(LAW.forward_s(tokens, context), rel=0.1)
    assert model.swap_s(64) == pytest.approx(LAW.swap_s(64), rel=0.1)
    assert 0.0 < measurement.forward.median_relative_error < 0.2
    assert measurement.forward.r_squared > 0.9


@pytest.mark.parametrize(
    "law", [CostModel(1e-3, 0.0, 0.0, 0.0, 0.0), CostModel(0.0, 1e-5, 0.0, 0.0, 1e-4), CostModel(0.0, 0.0, 1e-6, 1e-4, 0.0)]
)
def test_cost_that_a_machine_does_not_have_is_fitted_as_none(law: CostModel) -> None:
    assert constants(measured(LawfulExecutor(law)).cost_model) == pytest.approx(constants(law), rel=1e-6, abs=1e-12)


def test_no_coefficient_is_negative_where_plain_least_squares_would_have_one() -> None:
    class Saturating(LawfulExecutor):
        """Small steps take as long as large ones, and a little longer."""

        def collect(self, handle: StepPlan) -> StepResult:
            self.now += 1e-3 / (1 + 0.01 * handle.num_tokens)
            return super().collect(handle)

    model = measured(Saturating(CostModel(1e-3, 0.0, 0.0, 0.0, 0.0))).cost_model
    assert model.forward_per_token_s == 0.0
    assert 1e-3 < model.forward_base_s < 2e-3


def test_law_that_is_not_linear_shows_in_the_residuals() -> None:
    class Jumping(LawfulExecutor):
        def collect(self, handle: StepPlan) -> StepResult:
            self.now += 0.1 if 8 < handle.num_tokens < 64 else 0.0
            return super().collect(handle)

    forward = measured(Jumping()).forward
    assert forward.r_squared < 0.6
    assert forward.max_relative_error > 0.5


def test_residuals_are_those_of_the_points() -> None:
    fit = measured(LawfulExecutor(noise=0.1)).forward
    worst = max(abs(point.fitted_s - point.measured_s) / point.measured_s for point in fit.points)
    assert fit.max_relative_error == pytest.approx(worst, rel=1e-12)
    assert Point("decode", 1, 1, 0, 2.0, 3.0).relative_error == pytest.approx(0.5)
    assert {point.kind for point in fit.points} == {"prefill", "decode", "mixed"}


def test_executor_without_host_blocks_swaps_nothing() -> None:
    executor = LawfulExecutor()
    measurement = measured(executor, hosts=0)
    assert measurement.swap is None
    assert not any(plan.swap_outs or plan.swap_ins for plan in executor.plans)
    assert measurement.cost_model.swap_per_block_s == 0.0


@pytest.mark.parametrize("budget_s", [1.0, 3.0])
def test_measuring_ends_with_the_budget(budget_s: float) -> None:
    executor = LawfulExecutor(noise=0.2)
    assert measured(executor, budget_s=budget_s).duration_s == executor.now < 1.3 * budget_s


def test_slow_machine_gets_the_points_without_which_there_is_no_fit() -> None:
    slow = CostModel(5.0, 0.1, 1e-3, 1.0, 0.5)
    executor = LawfulExecutor(slow)
    measurement = measured(executor, budget_s=1.0)
    assert constants(measurement.cost_model) == pytest.approx(constants(slow), rel=1e-6)
    assert len(measurement.forward.points) == 4
    assert sum(bool(plan.swap_outs) for plan in executor.plans) == 4


def test_quick_machine_is_not_measured_for_longer_than_it_helps() -> None:
    executor = LawfulExecutor()
    measured(executor, budget_s=1e6, hosts=0)
    assert len(executor.plans) == 3 * MAX_VISITS * len({id(plan) for plan in executor.plans})


@pytest.mark.parametrize("step_s", [0.0, -1.0, float("nan"), float("inf")])
def test_clock_that_gives_no_times_is_refused(step_s: float) -> None:
    executor = LawfulExecutor()
    ticks = iter(range(10**6))
    with pytest.raises(MeasurementError, match="by the clock"):
        measure_cost_model(executor, CONFIG, num_blocks=NUM_BLOCKS, clock=lambda: step_s * next(ticks))


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("inf"), float("nan")])
def test_budget_must_be_a_time(budget_s: float) -> None:
    with pytest.raises(ValueError, match="budget_s must be a positive number of seconds"):
        measured(LawfulExecutor(), budget_s=budget_s)


@pytest.mark.parametrize(
    ("changes", "num_blocks"),
    [
        ({"max_num_seqs": 1}, 33),
        ({"max_model_len": 16, "max_chunk_tokens": 4}, 2),
        ({"max_model_len": 512, "max_num_seqs": 8}, 34),
        ({"max_model_len": 1, "max_num_seqs": 1, "max_chunk_tokens": 1}, 3),
    ],
    ids=["one request", "one block", "blocks for one request only", "one token"],
)
def test_plans_stay_within_the_limits_of_the_engine(changes: dict[str, int], num_blocks: int) -> None:
    config = engine_config(**{"block_size": 16, "max_model_len": 512, "max_chunk_tokens": 64, "max_num_seqs": 8} | changes)
    executor = LawfulExecutor()
    measure_cost_model(executor, config, num_blocks=num_blocks, num_host_blocks=5, budget_s=9.0, clock=executor.clock)
    limits = config.scheduler
    for plan in executor.plans:
        slots = [part.slot for part in (*plan.prefills, *plan.decodes)]
        assert len(set(slots)) == len(slots) <= limits.max_num_seqs
        ends = [(chunk.start + len(chunk.token_ids), chunk.block_ids) for chunk in plan.prefills]
        ends += [(decode.position + 1, decode.block_ids) for decode in plan.decodes]
        for end, block_ids in ends:
            assert end <= limits.max_model_len
            assert len(block_ids) == -(-end // 16) == len(set(block_ids))
            assert set(block_ids) <= set(range(1, num_blocks))
        assert all(len(chunk.token_ids) <= limits.max_chunk_tokens for chunk in plan.prefills)
        assert {copy.device_block for copy in (*plan.swap_outs, *plan.swap_ins)} <= set(range(1, num_blocks))
        assert {copy.host_block for copy in (*plan.swap_outs, *plan.swap_ins)} <= set(range(5))


def test_context_of_a_step_counts_once_a_chunk_and_once_a_decode() -> None:
    sampling = SamplingParams()
    chunk = PrefillChunk("a", 0, [1, 2, 3], 10, [1, 2], sampling, sample=True, ban_eos=False)
    plan = StepPlan(0, (chunk,), (Decode("b", 1, None, 6, [3], ban_eos=False),))
    assert num_context_tokens(plan) == 13 + 7


@pytest.mark.slow
def test_real_executor_compiles_nothing_and_serves_as_before() -> None:
    config = engine_config(block_size=8, max_num_seqs=2, max_model_len=64, max_chunk_tokens=16)
    executor = JaxExecutor(lively_model(gptj_config(num_layers=1)), config, num_blocks=17)
    executor.warm_up()
    blocks, prompt = list(range(3, 9)), np.random.default_rng(0).integers(1, 96, 16).tolist()

    def tokens() -> list[int]:
        chunk = PrefillChunk("r", 0, prompt, 0, blocks, SamplingParams(), sample=True, ban_eos=True)
        sampled = [executor.collect(executor.submit(StepPlan(0, (chunk,)))).sampled["r"]]
        for position in range(16, 24):
            plan = StepPlan(0, decodes=(Decode("r", 0, None, position, blocks, ban_eos=True),))
            sampled.append(executor.collect(executor.submit(plan)).sampled["r"])
        return sampled

    before, compiled = tokens(), []

    def listen(event: str, duration_s: float, **_: object) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        measurement = measure_cost_model(executor, config, num_blocks=17, budget_s=0.3)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []
    assert tokens() == before
    assert measurement.cost_model.forward_s(16, 16) > 0.0
    assert {point.kind for point in measurement.forward.points} == {"prefill", "decode", "mixed"}
