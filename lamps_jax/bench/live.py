"""A run on the engine of this process, in real time: what `sim.run.simulate` does in virtual time."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lamps_jax.bench.machine import LiveMachine
from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.engine.control import Control
from lamps_jax.engine.events import Event
from lamps_jax.engine.measure import num_context_tokens
from lamps_jax.engine.protocols import Executor
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sim.executor import Charge, Submitted, Totals
from lamps_jax.sim.player import Parts, Player
from lamps_jax.sim.results import results
from lamps_jax.sim.spec import RunSpec

MAX_CALLS_AT_ONCE = 4096
"""Threads that may sleep as calls; beyond, calls would wait for each other and last longer than their scripts say."""


class WallClock:
    """The clock on the wall, from 0 when it is made or started again.

    Args:
        wait: Lets so many seconds pass, or fewer if something happens.
    """

    def __init__(self, wait: Callable[[float], None] = time.sleep):
        self.wait = wait
        self.start()

    def start(self) -> None:
        """Begins at 0."""
        self._began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def __call__(self) -> float:
        return self.now_s

    def advance_to(self, time_s: float) -> None:
        """Waits until then, or until something happens."""
        if (seconds := time_s - self.now_s) > 0:
            self.wait(seconds)


class _UnderWay(NamedTuple):
    plan: StepPlan
    submitted_s: float
    handle: Any


class TimedExecutor:
    """Runs plans on the device, and notes how long each step took: from the end of the one before, if it was waiting for that.

    Attributes:
        step_s: Duration of each step so far.
        sizes: Of each the tokens computed, the context tokens read, and the chunks of prompts.
        totals: Over all steps.
        last: The step that was collected last.
    """

    def __init__(self, executor: Executor, clock: Callable[[], float]):
        self.step_s: list[float] = []
        self.sizes: list[tuple[int, int, int]] = []
        self.totals = Totals()
        self.last: Submitted | None = None
        self._executor, self._clock, self._ended_s = executor, clock, 0.0

    def submit(self, plan: StepPlan) -> _UnderWay:
        """Starts a step."""
        now = self._clock()
        return _UnderWay(plan, now, self._executor.submit(plan))

    def choose(self, handle: _UnderWay, controls: Sequence[Control]) -> _UnderWay:
        """As the executor does."""
        return handle._replace(handle=self._executor.choose(handle.handle, controls))

    def collect(self, handle: _UnderWay) -> StepResult:
        """Waits for a step."""
        result = self._executor.collect(handle.handle)
        now, plan = self._clock(), handle.plan
        duration_s = now - max(handle.submitted_s, self._ended_s)
        self._ended_s = now
        self.step_s.append(duration_s)
        self.sizes.append((plan.num_tokens, num_context_tokens(plan), len(plan.prefills)))
        self.totals.num_steps += 1
        self.totals.num_tokens += plan.num_tokens
        self.totals.num_swapped_blocks += len(plan.swap_outs) + len(plan.swap_ins)
        self.last = Submitted(plan, now, Charge(duration_s, 0.0, duration_s))
        return result


class LiveRun(Player):
    """Plays the arrivals of a run in real time, on a machine that was prepared for it.

    Attributes:
        timed: Its executor, which notes what steps take.
    """

    def __init__(self, spec: RunSpec, machine: LiveMachine):
        machine.executor.host_pool.clear()
        clock = WallClock()
        runner = ThreadApiRunner(clock=clock, max_threads=MAX_CALLS_AT_ONCE, wake_up=lambda: self.engine.wake_up())
        executor = TimedExecutor(machine.executor, clock)
        self.timed = executor
        super().__init__(spec, Parts(clock, executor, runner, sleep=time.sleep, vocab_size=machine.vocab_size))
        clock.wait = self.engine.wait
        self._wall, self._gave_up = clock, False

    def run(self) -> None:
        """Serves until the window is over, or if the run is drained until all have ended; what is left then is given up."""
        self._wall.start()
        super().run()
        self._gave_up = True
        for request in self.scheduler.requests():
            self.engine.abort(request.request_id)
        while self.engine.step():
            pass

    def _hear(self, event: Event, index: int, number: int) -> None:
        if not self._gave_up:
            super()._hear(event, index, number)


def run_live(spec: RunSpec, machine: LiveMachine) -> dict[str, Any]:
    """Runs `spec` on the machine's engine, and gives what the results document says of a run.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """
    run = LiveRun(spec, machine)
    began = time.perf_counter()
    run.run()
    return results(run, wall_s=time.perf_counter() - began)
