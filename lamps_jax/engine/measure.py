"""Measures what steps and swaps cost where the engine runs, and fits `sched.cost_model.CostModel` to it.

Only plans go in and only times come out: what is timed is the executor as the engine drives it, one step ahead. It must be warm,
so that nothing compiles, and must not serve yet: the blocks that the plans name are scratch, and hold junk afterwards.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from lamps_jax.config import EngineConfig
from lamps_jax.engine.batch import SMALLEST_CHUNK
from lamps_jax.engine.protocols import Executor
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

STEPS_AT_A_TIME = 2
"""Steps timed in one visit of a point. Visits of all points alternate, so that a busy moment of the machine hits all alike."""

MAX_VISITS = 12
"""Visits of one point after which more would not make the median better."""

MIN_FORWARD_POINTS = 4
"""Steps of different sizes that are always measured, whatever the budget: three coefficients and one to contradict them."""

LARGEST_SWAP = 256
"""Most blocks of one measured swap."""


class MeasurementError(ValueError):
    """What was measured cannot be times of an executor."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured size. `num_context_tokens` is as in `num_context_tokens`; `num_blocks` go out and come back.

    Attributes:
        kind: prefill, decode, mixed or swap.
        measured_s: Median; of a swap the whole round trip, with the small decode that waits for it.
        fitted_s: What the fit says of it.
    """

    kind: str
    num_tokens: int
    num_context_tokens: int
    num_blocks: int
    measured_s: float
    fitted_s: float

    @property
    def relative_error(self) -> float:
        """How far the fit is off, as a share of what was measured; positive where it says too much."""
        return self.fitted_s / self.measured_s - 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a linear law describes the points."""

    points: tuple[Point, ...]

    @property
    def r_squared(self) -> float:
        """Share of the variance of the measured times that the fit explains; 1 if they do not vary."""
        measured = [point.measured_s for point in self.points]
        mean = statistics.fmean(measured)
        total = sum((value - mean) ** 2 for value in measured)
        return 1.0 - sum((point.measured_s - point.fitted_s) ** 2 for point in self.points) / total if total else 1.0

    @property
    def median_relative_error(self) -> float:
        """Median of the sizes of the relative errors."""
        return statistics.median(abs(point.relative_error) for point in self.points)

    @property
    def max_relative_error(self) -> float:
        """Largest size of a relative error."""
        return max(abs(point.relative_error) for point in self.points)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The fitted cost model and what it rests on.

    Attributes:
        swap: None where the executor has no host blocks; the model's swap times are 0 then and mean nothing.
        duration_s: How long it took.
    """

    cost_model: CostModel
    forward: Fit
    swap: Fit | None
    duration_s: float


def num_context_tokens(plan: StepPlan) -> int:
    """Tokens whose keys and values a step reads: each chunk's and each decode's context once, its own tokens included.

    A chunk's tokens share what they read, so that a context counts once a chunk and not once a token; measured, that describes
    prefill and decode with one coefficient far better.
    """
    chunks = sum(chunk.start + len(chunk.token_ids) for chunk in plan.prefills)
    return chunks + sum(decode.position + 1 for decode in plan.decodes)


def measure_cost_model(
    executor: Executor,
    config: EngineConfig,
    *,
    num_blocks: int,
    num_host_blocks: int = 0,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Times prefill chunks, decode batches and swaps of several sizes on a warm `executor`, and fits their costs.

    The fit is by least squares of the relative errors with no negative coefficient: a small step counts as much as a large one.

    Args:
        config: What the executor was built with.
        num_blocks: Blocks of its pool, the null block included.
        num_host_blocks: Blocks of its host pool; 0 leaves out the swaps.
        budget_s: Seconds after which nothing more is measured than the few points without which there is no fit.

    Raises:
        ValueError: If the budget is not positive, or (as `MeasurementError`) what the clock says cannot be times.
    """
    if not 0.0 < budget_s < float("inf"):
        raise ValueError(f"budget_s must be a positive number of seconds, got {budget_s}")
    started = clock()
    scratch = _Scratch(config, num_blocks)
    plans = scratch.forward_plans()
    forward_s = budget_s if not num_host_blocks else 0.7 * budget_s
    times = _medians(
        [lambda plan=plan: _step_times(executor, plan, clock) for plan in plans], MIN_FORWARD_POINTS, forward_s, clock
    )
    plans = plans[: len(times)]
    tokens, contexts = [plan.num_tokens for plan in plans], [num_context_tokens(plan) for plan in plans]
    (base, per_token, per_context), fitted = _fit([np.ones(len(plans)), tokens, contexts], times)
    points = [
        Point(_kind(plan), plan.num_tokens, num_context_tokens(plan), 0, *seconds)
        for plan, *seconds in zip(plans, times, fitted, strict=True)
    ]
    (swap_base, per_block), swap = _measure_swaps(executor, scratch, num_host_blocks, started + budget_s - clock(), clock)
    model = CostModel(base, per_token, per_context, swap_base, per_block)
    return Measurement(model, Fit(tuple(points)), swap, clock() - started)


def _measure_swaps(
    executor: Executor, scratch: "_Scratch", num_host_blocks: int, budget_s: float, clock: Callable[[], float]
) -> tuple[tuple[float, float], Fit | None]:
    """Base and time a block of a swap, one way. A round trip ends with a decode, which waits for the blocks and has a term."""
    sizes = scratch.swap_sizes(num_host_blocks)
    if not sizes:
        return (0.0, 0.0), None
    trips = [scratch.round_trip(size) for size in (0, *sizes)]
    times = _medians([lambda trip=trip: [_trip_time(executor, trip, clock)] for trip in trips], len(trips), budget_s, clock)
    counts = np.array([0, *sizes])
    (_, base, per_block), fitted = _fit([np.ones(len(counts)), counts > 0, counts], times)
    points = [
        Point("swap", 1, 1, count, *seconds) for count, *seconds in zip(counts.tolist(), times, fitted, strict=True) if count
    ]
    return (base / 2, per_block / 2), Fit(tuple(points))


class _Scratch:
    """Plans over scratch blocks. Requests have different blocks as far as the pool allows: shared ones would stay in caches."""

    def __init__(self, config: EngineConfig, num_blocks: int):
        self._block_size, self._usable = config.block_size, num_blocks - 1
        scheduler = config.scheduler
        self._longest = min(scheduler.max_model_len, self._usable * config.block_size)
        self._chunk = min(scheduler.max_chunk_tokens, self._longest)
        self._slots = scheduler.max_num_seqs

    def forward_plans(self) -> list[StepPlan]:
        """Steps of different sizes, the most different first."""
        smallest, batch, longest = min(SMALLEST_CHUNK, self._chunk), self._slots, self._longest
        short = min(self._block_size, longest)
        plans = [
            self._prefill(smallest, start=0),
            self._prefill(self._chunk, start=0),
            self._decode(batch, longest),
            self._decode(batch, short),
            self._decode(1, longest),
            self._prefill(self._chunk, start=longest - self._chunk),
        ]
        middle_chunk, middle_batch = max(smallest, self._chunk // 4), max(1, batch // 4)
        plans += [
            self._prefill(middle_chunk, start=start) for start in (0, (longest - middle_chunk) // 2, longest - middle_chunk)
        ]
        plans += [self._decode(*size) for size in product((middle_batch, batch), (longest // 4 or 1, longest // 2 or 1))]
        plans.append(self._decode(1, short))
        if batch > 1:
            chunk, decodes = self._prefill(middle_chunk, start=0), self._decode(batch - 1, longest // 2 or 1, first_slot=1)
            plans.append(StepPlan(0, chunk.prefills, decodes.decodes))
        return list(dict.fromkeys(plans))

    def swap_sizes(self, num_host_blocks: int) -> list[int]:
        """Numbers of blocks to swap: powers of four."""
        largest = min(num_host_blocks, self._usable, LARGEST_SWAP)
        return [4**power for power in range(10) if 4**power <= largest]

    def round_trip(self, num_blocks: int) -> tuple[StepPlan, ...]:
        """Steps that take blocks to the host and back, and one that waits for them."""
        copies = tuple(BlockCopy(1 + at, at) for at in range(num_blocks))
        swaps = (StepPlan(0, swap_outs=copies), StepPlan(0, swap_ins=copies)) if copies else ()
        return (*swaps, self._decode(1, 1))

    def _prefill(self, length: int, *, start: int) -> StepPlan:
        blocks = self._blocks(0, start + length)
        return StepPlan(0, (PrefillChunk("0", 0, (0,) * length, start, blocks, SamplingParams(), sample=True, ban_eos=False),))

    def _decode(self, batch: int, context: int, *, first_slot: int = 0) -> StepPlan:
        slots = range(first_slot, first_slot + batch)
        return StepPlan(
            0, decodes=tuple(Decode(str(slot), slot, 0, context - 1, self._blocks(slot, context), False) for slot in slots)
        )

    def _blocks(self, slot: int, num_tokens: int) -> tuple[int, ...]:
        count, first = -(-num_tokens // self._block_size), slot * -(-self._longest // self._block_size)
        return tuple(1 + (first + at) % self._usable for at in range(count))


def _kind(plan: StepPlan) -> str:
    return "mixed" if plan.prefills and plan.decodes else "prefill" if plan.prefills else "decode"


def _step_times(executor: Executor, plan: StepPlan, clock: Callable[[], float]) -> list[float]:
    """Times between the ends of steps, each submitted before the one before it is collected, as the engine does."""
    ends: list[float] = []
    handle = executor.submit(plan)
    for _ in range(STEPS_AT_A_TIME):
        ahead = executor.submit(plan)
        executor.collect(handle)
        ends.append(clock())
        handle = ahead
    executor.collect(handle)
    ends.append(clock())
    return [after - before for before, after in pairwise(ends)]


def _trip_time(executor: Executor, plans: Sequence[StepPlan], clock: Callable[[], float]) -> float:
    started = clock()
    for handle in [executor.submit(plan) for plan in plans]:
        executor.collect(handle)
    return clock() - started


def _medians(
    visits: Sequence[Callable[[], list[float]]], num_needed: int, budget_s: float, clock: Callable[[], float]
) -> list[float]:
    """The median of what each visit gives over all rounds; of the first `num_needed` at least, and of more while time lasts."""
    samples: list[list[float]] = [[] for _ in visits]
    deadline = clock() + budget_s
    for turn in range(MAX_VISITS * len(visits)):
        if turn >= num_needed and clock() >= deadline:
            break
        taken = visits[turn % len(visits)]()
        if not all(0.0 < value < float("inf") for value in taken):
            raise MeasurementError(f"a step took {min(taken)} s by the clock; a clock that runs, and is not set back, is needed")
        samples[turn % len(visits)] += taken
    return [statistics.median(values) for values in samples if values]


def _fit(columns: Sequence[object], measured_s: Sequence[float]) -> tuple[tuple[float, ...], list[float]]:
    """Coefficients of `columns`, none negative, that make the sum of squared relative errors least; and the fitted times.

    Of few columns each subset can be tried: the best whose own least squares are not negative is the solution.
    """
    times = np.array(measured_s)
    design = np.stack([np.asarray(column, float) for column in columns], axis=1)
    relative = design / times[:, None]
    best, least = np.zeros(design.shape[1]), float("inf")
    for chosen in product((False, True), repeat=design.shape[1]):
        solution = np.zeros(design.shape[1])
        solution[list(chosen)] = np.linalg.lstsq(relative[:, list(chosen)], np.ones(len(times)), rcond=None)[0]
        error = float(np.square(relative @ solution - 1.0).sum())
        if (solution >= 0.0).all() and error < least:
            best, least = solution, error
    return tuple(best.tolist()), (design @ best).tolist()
