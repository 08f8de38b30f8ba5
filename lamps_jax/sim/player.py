"""Plays a workload's arrivals to an engine, and watches: in virtual or in real time, as the parts that it is given have it."""

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event
from lamps_jax.engine.options import RequestOptions
from lamps_jax.engine.protocols import ApiRunner, Executor
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.estimates import Predictor
from lamps_jax.sched.plan import StepPlan
from lamps_jax.sched.prefix_index import cost_aware, least_recently_used
from lamps_jax.sched.request import FinishReason, Request
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sim.arrivals import arrivals
from lamps_jax.sim.content import prompt_ids, token_ids
from lamps_jax.sim.executor import Submitted, Totals
from lamps_jax.sim.observer import MAX_SAMPLES, MemoryObserver, ScriptOutcome, TimelineObserver
from lamps_jax.sim.predictors import PREDICTORS, NoisyPredictor, Told, Unknown, class_means
from lamps_jax.sim.scripted import ScriptedReader, scripted_sampling, scripted_tool, tool_name
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Arrival, Turn, Workload
from lamps_jax.tools.tool import Tool

LONGEST_CALL_S = 1e9
"""No scripted call runs out of time."""


class Clock(Protocol):
    """Tells the time since the run began, and lets it pass."""

    @property
    def now_s(self) -> float:
        """The time."""
        ...

    def __call__(self) -> float:
        """The time, as the engine asks for it."""
        ...

    def advance_to(self, time_s: float) -> None:
        """Lets time pass until then, or until something happens."""
        ...


class WatchedExecutor(Executor, Protocol):
    """An executor that remembers its steps.

    Attributes:
        step_s: Duration of each step so far.
        totals: Over all steps.
        last: The step that was collected last; the player takes it away.
    """

    step_s: list[float]
    totals: Totals
    last: Submitted | None


class Parts(NamedTuple):
    """What differs between virtual and real time.

    Attributes:
        sleep: What a call of so many seconds does; nothing where the runner of calls knows how long they take.
        vocab_size: Prompts are made of so many different tokens; None where nobody computes with them.
    """

    clock: Clock
    executor: WatchedExecutor
    runner: ApiRunner
    sleep: Callable[[float], None] = lambda seconds: None
    vocab_size: int | None = None


class TimedScheduler(Scheduler):
    """A scheduler that notes how long each plan took it, by the clock on the wall."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        self.schedule_s: list[float] = []

    def schedule(self, now: float) -> StepPlan:
        """As a scheduler does."""
        began = time.perf_counter()
        plan = super().schedule(now)
        self.schedule_s.append(time.perf_counter() - began)
        return plan


class Player:
    """Plays the arrivals of a run, step by step.

    Args:
        coming: Arrivals in order of time; None takes those that `spec` speaks of. `offer` adds to them.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """

    def __init__(self, spec: RunSpec, parts: Parts, coming: Sequence[Arrival] | None = None):
        self.spec, self.clock, self.executor, self.runner = spec, parts.clock, parts.executor, parts.runner
        self.predictor = _predictor(spec)
        self.scheduler = _scheduler(spec, self.predictor)
        self.engine = Engine(
            scheduler=self.scheduler,
            executor=self.executor,
            api_runner=self.runner,
            tokenizer=None,
            tools=_tools(spec.workload, parts.sleep),
            eos_token_ids=(),
            clock=self.clock,
        )
        self.memory = MemoryObserver(self.scheduler, spec.window_s / MAX_SAMPLES if spec.record.occupancy else 0.0)
        self.timeline = TimelineObserver(spec.record.timeline)
        self.gaps_s: list[float] = []
        self.outcomes: list[ScriptOutcome] = []
        self._vocab_size = parts.vocab_size
        self._ids, self._tickets = itertools.count(2**61), itertools.count()
        self._coming = list(arrivals_of(spec) if coming is None else coming)
        self._next = 0
        self._later: list[tuple[float, int, int, int, list[int]]] = []  # time, ticket, outcome, turn, prompt
        self._turns: dict[int, tuple[Turn, ...]] = {}
        self._watched: dict[int, Request] = {}
        self._readers: dict[int, ScriptedReader] = {}  # of first turns that have not ended
        self._preserved_tokens = 0

    def offer(self, arrival: Arrival) -> None:
        """Adds an arrival that comes after all others; its index is this player's own."""
        self._coming.append(replace(arrival, index=len(self._coming)))

    def run_until(self, time_s: float) -> None:
        """Serves until then, or to the end of the step that is under way then."""
        while self.clock.now_s < time_s and self.step(time_s):
            pass
        self.clock.advance_to(time_s)

    def run(self) -> None:
        """Serves until the window is over, and if the run is drained until all have ended."""
        if self.spec.drain:
            while self.step():
                pass
        else:
            self.run_until(self.spec.window_s)
        for index, reader in self._readers.items():
            self.outcomes[index].first_token_s = reader.first_token_s

    def step(self, end_s: float = float("inf")) -> bool:
        """One turn of the engine's loop, or a leap to the next event; False if nothing will ever happen again."""
        now = self.clock.now_s
        self._send(now)
        self.executor.last = None
        worked = self.engine.step()
        if step := self.executor.last:
            copied = len(step.plan.swap_outs) + len(step.plan.swap_ins)
            again = self.scheduler.num_recomputed_tokens
            self.memory.stepped(step.charge.forward_s, step.charge.duration_s, step.plan.num_tokens, copied, again)
        if not worked:
            times = (self._next_sending_s(), self.runner.next_deadline_s(), self.scheduler.next_wake_s())
            event_s = min((each for each in times if each is not None), default=None)
            if event_s is None:
                return False
            self.clock.advance_to(min(event_s, end_s))
        self.memory.elapsed(now, self.clock.now_s, self._preserved_tokens)
        paused = self.scheduler.paused()
        self._preserved_tokens = sum([r.num_computed_tokens for r in paused if r.block_ids and not r.host_block_ids])
        self.memory.sample(self.clock.now_s)
        for index, request in self._watched.items():
            self.timeline.note(index, request, self.clock.now_s)
        return True

    def _next_sending_s(self) -> float | None:
        times = [self._coming[self._next].time_s] if self._next < len(self._coming) else []
        times += [self._later[0][0]] if self._later else []
        return min(times, default=None)

    def _send(self, now: float) -> None:
        """Lets clients send what is due."""
        while self._next < len(self._coming) and self._coming[self._next].time_s <= now:
            arrival = self._coming[self._next]
            self._next += 1
            outcome = ScriptOutcome(arrival)
            self.outcomes.append(outcome)
            if (longest := arrival.script.max_context_tokens) > (most := self.spec.scheduler.max_model_len):
                outcome.refused = f"its context grows to {longest} tokens, more than the {most} of max_model_len"
                continue
            self._turns[arrival.index] = turns = arrival.script.turns()
            self._add(arrival.index, 0, self._prompt(turns[0], f"{arrival.index}/0"))
        while self._later and self._later[0][0] <= now:
            _, _, index, turn, prompt = heapq.heappop(self._later)
            self._add(index, turn, prompt)

    def _add(self, index: int, number: int, prompt: list[int]) -> None:
        turn, arrival = self._turns[index][number], self.outcomes[index].arrival
        request_id = f"{index}.{number}"
        if isinstance(self.predictor, Told):
            self.predictor.tell(request_id, turn.segments)
        result_ids = self._private_ids if self.scheduler.memory.prefix_cache else None
        reader = ScriptedReader(turn.segments, self.clock, self.gaps_s, result_ids=result_ids)
        if number == 0:
            self._readers[index] = reader
        self.engine.add(
            prompt,
            scripted_sampling(turn.segments),
            on_event=lambda event: self._hear(event, index, number),
            options=RequestOptions(
                request_type=arrival.script.request_type,
                program_id=arrival.script.session_id or (f"script-{index}" if len(self._turns[index]) > 1 else ""),
            ),
            reader=reader,
            request_id=request_id,
        )
        if index < self.spec.record.timeline or len(self._turns[index]) > 1:
            request = self.scheduler.get(request_id)
            assert request is not None
            self._watched[index] = request

    def _prompt(self, turn: Turn, owner: str) -> list[int]:
        return prompt_ids(turn.added, owner, vocab_size=self._vocab_size)

    def _private_ids(self, count: int) -> list[int]:
        if self._vocab_size is not None:
            return list(token_ids(f"result/{next(self._ids)}", count, vocab_size=self._vocab_size))
        return list(itertools.islice(self._ids, count))

    def _hear(self, event: Event, index: int, number: int) -> None:
        if event.kind != "finished":
            return
        output, outcome = event.output, self.outcomes[index]
        if output.finish_reason is not FinishReason.LENGTH:
            raise RuntimeError(f"request {output.request_id} ended by {output.finish_reason}: {output.error}")
        outcome.take(output)
        self._readers.pop(index, None)
        now, turns = self.clock.now_s, self._turns[index]
        request = self._watched.pop(index, None)
        self.timeline.close(index, now)
        if isinstance(self.predictor, Told):
            self.predictor.forget(output.request_id)
        if number + 1 == len(turns):
            outcome.finished_s = now
            del self._turns[index]
            return
        assert request is not None
        turn = turns[number + 1]
        prompt = [*request.token_ids[: turn.num_kept_tokens], *self._prompt(turn, f"{index}/{number + 1}")]
        outcome.api_s += turn.wait_s
        heapq.heappush(self._later, (now + turn.wait_s, next(self._tickets), index, number + 1, prompt))


CLASS_DEVIATIONS = {"class-mean": 0.0, "class-tail": 1.0}
"""Predictions that are made of half of the scripts, the other half of which arrive."""


def arrivals_of(spec: RunSpec) -> Sequence[Arrival]:
    """Who arrives in a run, and when.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """
    workload = spec.workload
    if spec.prediction in CLASS_DEVIATIONS:
        workload = Workload(workload.name, workload.scripts[1::2] or workload.scripts, workload.times_s[1::2])
    return arrivals(
        workload,
        spec.arrivals,
        rate_rps=spec.rate_rps,
        seed=spec.seed,
        window_s=spec.window_s,
        cv=spec.cv,
        burst_at_start=spec.burst_at_start and spec.arrivals == "poisson",
    )


def _scheduler(spec: RunSpec, predictor: Predictor) -> TimedScheduler:
    machine, config = spec.hardware, spec.scheduler
    eviction = least_recently_used
    if config.eviction == "cost":
        eviction = cost_aware(machine.cost_model, machine.block_size, config.cache_decay_s)
    blocks = BlockManager(machine.num_blocks, machine.block_size, num_host_blocks=machine.num_host_blocks, eviction=eviction)
    call_history = CallHistory() if spec.prediction in ("history", "served") else Unknown()
    return TimedScheduler(config, blocks, machine.cost_model, predictor, call_history)


def _tools(workload: Workload, sleep: Callable[[float], None]) -> dict[str, Tool]:
    names = sorted({tool_name(call.name) for script in workload.scripts for call in script.calls})
    return {name: scripted_tool(name, sleep, timeout_s=LONGEST_CALL_S) for name in names}


def _predictor(spec: RunSpec) -> Predictor:
    if spec.prediction in CLASS_DEVIATIONS:
        return class_means(spec.workload.scripts[::2], deviations=CLASS_DEVIATIONS[spec.prediction])
    if spec.noise:
        durations, lengths = spec.noisy != "lengths", spec.noisy != "durations"
        return NoisyPredictor(spec.noise, seed=spec.seed, durations=durations, lengths=lengths)
    return PREDICTORS[spec.prediction]()
