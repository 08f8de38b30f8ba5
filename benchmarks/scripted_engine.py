"""The real engine, serving requests that are nothing but lengths: what benchmarks of a whole engine start from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamps_jax.config import EngineConfig
from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.engine.build import UNIT_COSTS
from lamps_jax.engine.control import Control
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.registry import LoadedModel
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.sim.scripted import ScriptedReader, scripted_sampling
from lamps_jax.sim.workload import Segment


class TimedExecutor:
    """An executor that notes how long each `submit` took, and each `collect`, which waits for the device."""

    def __init__(self, executor: JaxExecutor):
        self.executor = executor
        self.submit_s: list[float] = []
        self.collect_s: list[float] = []

    def submit(self, plan: StepPlan) -> Any:
        """As the executor does."""
        began = time.perf_counter()
        handle = self.executor.submit(plan)
        self.submit_s.append(time.perf_counter() - began)
        return handle

    def choose(self, handle: Any, controls: Sequence[Control]) -> Any:
        """As the executor does."""
        return self.executor.choose(handle, controls)

    def collect(self, handle: Any) -> StepResult:
        """As the executor does."""
        began = time.perf_counter()
        result = self.executor.collect(handle)
        self.collect_s.append(time.perf_counter() - began)
        return result


@dataclass(frozen=True, slots=True)
class Lengths:
    """A request: its prompt's tokens, and how many it generates."""

    num_prompt_tokens: int
    num_generated_tokens: int


def random_prompt(lengths: Lengths, seed: int, vocab_size: int) -> list[int]:
    """A prompt of so many random tokens, none of which is special."""
    return np.random.default_rng(seed).integers(2, vocab_size, lengths.num_prompt_tokens).tolist()


@dataclass(slots=True)
class Serving:
    """An engine, and which of its requests have ended.

    Attributes:
        executor: What it computes with.
        ended: Tokens of each request that has.
    """

    engine: Engine
    executor: TimedExecutor
    vocab_size: int
    ended: dict[str, list[int]] = field(default_factory=dict)

    def add(self, lengths: Lengths, seed: int) -> str:
        """Queues a request with a prompt of random tokens."""
        prompt = random_prompt(lengths, seed, self.vocab_size)
        segments = [Segment(lengths.num_generated_tokens)]

        def hear(event: Event) -> None:
            if event.kind == "finished":
                self.ended[event.output.request_id] = event.output.token_ids

        reader = ScriptedReader(segments, self.engine.clock, [])
        return self.engine.add(prompt, scripted_sampling(segments), on_event=hear, reader=reader)

    def serve(self, requests: Sequence[Lengths], concurrency: int) -> tuple[float, list[list[int]]]:
        """Seconds in which all `requests` are served, so many of them at a time, and the tokens of each."""
        began, request_ids, before = time.perf_counter(), list[str](), len(self.ended)
        while (num_ended := len(self.ended) - before) < len(requests):
            for seed in range(len(request_ids), min(len(requests), num_ended + concurrency)):
                request_ids.append(self.add(requests[seed], seed))
            self.engine.step()
        return time.perf_counter() - began, [self.ended[request_id] for request_id in request_ids]


def scripted_serving(model: LoadedModel, executor: JaxExecutor, config: EngineConfig, num_blocks: int) -> Serving:
    """A real engine with the scheduler that `config` names, over a model's executor of so many blocks."""
    timed = TimedExecutor(executor)
    engine = Engine(
        scheduler=Scheduler(config.scheduler, BlockManager(num_blocks, config.block_size), UNIT_COSTS),
        executor=timed,
        api_runner=ThreadApiRunner(wake_up=lambda: None),
        tokenizer=None,
        tools={},
        eos_token_ids=model.eos_token_ids,
        default_temperature=0.0,
    )
    return Serving(engine, timed, model.config.vocab_size)
