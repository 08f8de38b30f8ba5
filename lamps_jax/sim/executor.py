"""An executor that computes nothing and charges the time that computing would take."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lamps_jax.engine.control import Control
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sim.clock import VirtualClock

FIRST_TOKEN = 2**62
"""Samples are numbers from here on, so that no two texts are alike that should not be."""


class Charge(NamedTuple):
    """What a step costs.

    Attributes:
        forward_s: Its computation.
        copies_s: Its copies between device and host.
        duration_s: Both together.
    """

    forward_s: float
    copies_s: float
    duration_s: float


class Submitted(NamedTuple):
    """A step under way."""

    plan: StepPlan
    end_s: float
    charge: Charge


def charge(plan: StepPlan, cost_model: CostModel, *, blocking_swaps: bool = False) -> Charge:
    """What a step costs: computation and copies hide behind each other, unless copies block.

    Source: InferCept, section 4.1, swap pipelining; blocking, its equation 3.
    """
    contexts = sum([row.position for row in plan.decodes]) + len(plan.decodes)
    contexts += sum(chunk.start + len(chunk.token_ids) for chunk in plan.prefills)
    num_tokens = plan.num_tokens
    forward_s = cost_model.forward_s(num_tokens, contexts, len(plan.prefills)) if num_tokens else 0.0
    copies_s = cost_model.swap_s(len(plan.swap_outs)) + cost_model.swap_s(len(plan.swap_ins))
    return Charge(forward_s, copies_s, forward_s + copies_s if blocking_swaps else max(forward_s, copies_s))


@dataclass(slots=True)
class Totals:
    """What was charged so far."""

    num_steps: int = 0
    num_tokens: int = 0
    num_swapped_blocks: int = 0


class SimExecutor:
    """Runs plans one after the other in virtual time; a step begins when it has been submitted and the one before has ended.

    Attributes:
        step_s: Duration of each step so far.
        last: The step that was collected last.
    """

    def __init__(self, clock: VirtualClock, cost_model: CostModel, *, blocking_swaps: bool = False):
        self.step_s: list[float] = []
        self.totals = Totals()
        self.last: Submitted | None = None
        self._clock, self._cost_model, self._blocking_swaps = clock, cost_model, blocking_swaps
        self._free_s = 0.0
        self._tokens = itertools.count(FIRST_TOKEN)

    def submit(self, plan: StepPlan) -> Submitted:
        """Starts a step."""
        charged = charge(plan, self._cost_model, blocking_swaps=self._blocking_swaps)
        self._free_s = max(self._free_s, self._clock.now_s) + charged.duration_s
        self.step_s.append(charged.duration_s)
        self.totals.num_steps += 1
        self.totals.num_tokens += plan.num_tokens
        self.totals.num_swapped_blocks += len(plan.swap_outs) + len(plan.swap_ins)
        return Submitted(plan, self._free_s, charged)

    def choose(self, handle: Submitted, controls: Sequence[Control]) -> Submitted:
        """Nothing is chosen: a simulated token is like any other."""
        return handle

    def collect(self, handle: Submitted) -> StepResult:
        """Lets time pass until the step has ended."""
        self._clock.advance_to(handle.end_s)
        self.last = handle
        plan, tokens = handle.plan, self._tokens
        sampled = {chunk.request_id: next(tokens) for chunk in plan.prefills if chunk.sample}
        for decode in plan.decodes:
            sampled[decode.request_id] = next(tokens)
        return StepResult(plan.step_id, sampled)
