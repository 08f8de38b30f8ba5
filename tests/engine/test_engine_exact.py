"""The real model's tokens do not depend on what else the engine does: batching, chunks, preemption, discarding, swapping, calls.

The model is random and its vocabulary holds whole calls as single tokens, so that it calls tools by chance, and often.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Sharding

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.registry import random_model
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.policy import SYSTEMS
from lamps_jax.sched.request import Constraint, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from tests.engine.helpers import Asked, ManualRunner, byte_tokenizer, counted, echo_tool, make_engine, run
from tests.properties import examples

pytestmark = pytest.mark.usefixtures("optimised")

CALLS = tuple(f"[Echo({number}) ->{surplus}" for number in range(20) for surplus in ("", " ", "7]"))
TOKENIZER = byte_tokenizer(*CALLS)
MAX_MODEL_LEN, BLOCK_SIZE, NUM_HOST_BLOCKS = 64, 4, 40
SLOW_LINK, FAST_LINK = CostModel(1.0, 0.0, 0.0, 0.0, 0.5), CostModel(1.0, 0.1, 0.0, 0.0, 0.1)
"""Steps that hide two copies, and ten or more."""


@cache
def executor() -> JaxExecutor:
    """One for all tests, so that its programs are compiled once; every engine finds the last one's leavings in the pool."""
    shape = GPTJConfig(
        vocab_size=TOKENIZER.vocab_size,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        rotary_dim=8,
        intermediate_size=64,
        max_position=MAX_MODEL_LEN,
    )
    limits = SchedulerConfig(token_budget=32, max_chunk_tokens=16, max_num_seqs=4, max_model_len=MAX_MODEL_LEN)
    block_bytes = shape.num_layers * 2 * shape.hidden_size * BLOCK_SIZE * 4
    config = EngineConfig(limits, BLOCK_SIZE, 65, host_kv_bytes=NUM_HOST_BLOCKS * block_bytes)
    device = JaxExecutor(random_model(shape), config, num_blocks=65, transfer=TRANSFER)
    device.warm_up()
    return device


CONTROLS: tuple[dict[str, Any], ...] = (
    {"presence_penalty": 1.0, "frequency_penalty": 0.5, "num_logprobs": 2},
    {"repetition_penalty": 1.5, "logit_bias": ((70, 3.0), (80, -5.0))},
    {"min_p": 0.3, "num_logprobs": 0},
    {"constraint": Constraint("regex", r"(?s:[\[\]a-zA-Z0-9 ()>-]{0,40})")},
    {"constraint": Constraint("json_object"), "num_logprobs": 1},
)
"""Ways to choose tokens that take a program of their own."""


class FlakyTransfer:
    """Copies blocks, and fails every so often while it is told to."""

    def __init__(self) -> None:
        self.fails_every, self.num_failed, self._count = 0, 0, 0

    def __call__(self, blocks: tuple[jax.Array, ...], target: Sharding) -> Any:
        self._count += 1
        if self.fails_every and self._count % self.fails_every == 0:
            self.num_failed += 1
            raise MemoryError("no pinned memory is left")
        return jax.device_put(blocks, target)


TRANSFER = FlakyTransfer()


@dataclass(frozen=True)
class Told:
    """All that a request yields."""

    context: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    results: tuple[str | None, ...]
    likeliest: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Question:
    prompt: tuple[int, ...]
    sampling: SamplingParams


def served(
    questions: list[Question],
    *,
    runner: ManualRunner | None = None,
    steps_apart: int = 0,
    num_blocks: int = 65,
    **options: Any,
) -> tuple[list[Told], Scheduler]:
    """What each question yields when they are served together, and the scheduler that did it."""
    tool = echo_tool(lambda text: f"<{text}>")
    engine = make_engine(
        TOKENIZER,
        lambda config, blocks: executor(),
        [tool],
        runner=runner,
        num_blocks=num_blocks,
        block_size=BLOCK_SIZE,
        **({"max_model_len": MAX_MODEL_LEN, "max_chunk_tokens": 16} | options),
    )
    asked, requests = [], []
    for question in questions:
        events: list = []
        asked.append(Asked(engine.add(list(question.prompt), question.sampling, on_event=events.append), events))
        requests.append(engine.scheduler.get(asked[-1].request_id))
        for _ in range(steps_apart):
            engine.step()
    run(engine)
    told = [
        Told(
            context=tuple(request.token_ids),
            token_ids=tuple(one.output.token_ids),
            text=one.output.text,
            results=tuple(call.result for call in one.output.calls),
            likeliest=tuple(tuple(token_id for token_id, _ in told.likeliest) for told in one.output.logprobs),
        )
        for one, request in zip(asked, requests, strict=True)
        if request is not None
    ]
    assert len(counted(tool)) == sum(len(one.results) for one in told)
    return told, engine.scheduler


@cache
def alone(question: Question) -> Told:
    return served([question], prefix_cache=False)[0][0]


def some_questions(seed: int, count: int) -> list[Question]:
    rng = random.Random(seed)
    return [
        Question(
            tuple(rng.randrange(1, 257) for _ in range(rng.randint(1, 20))),
            SamplingParams(
                max_tokens=rng.randint(1, 30),
                temperature=rng.choice([0.0, 1.0, 1.0]),
                seed=rng.randrange(1000),
                **rng.choice([{}, {}, *CONTROLS]),
            ),
        )
        for _ in range(count)
    ]


CROWD = some_questions(0, 10)


def test_the_crowd_calls_tools_and_its_requests_differ():
    told = [alone(question) for question in CROWD]
    assert sum(len(one.results) for one in told) > 10
    assert len({one.token_ids for one in told}) >= len(CROWD) - 1  # two short texts may be alike


def test_a_batch_of_many_yields_what_each_yields_alone():
    assert served(CROWD)[0] == [alone(question) for question in CROWD]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("delay_polls", [0, 5])
def test_a_tiny_pool_yields_what_a_large_one_does_under_every_system(system: str, delay_polls: int):
    told, scheduler = served(CROWD, runner=ManualRunner(delay_polls), policy=system, num_blocks=18)
    assert told == [alone(question) for question in CROWD]
    assert scheduler.num_preemptions > 0


@pytest.mark.parametrize("system", ["preserve", "swap"])
@pytest.mark.parametrize("cost_model", [None, SLOW_LINK], ids=["unlimited", "slow link"])
def test_blocks_that_went_to_the_host_and_back_yield_what_they_did_before(system: str, cost_model: CostModel | None):
    crowd = [*CROWD, *some_questions(1, 14)]
    told, scheduler = served(
        crowd, runner=ManualRunner(5), policy=system, num_blocks=18, num_host_blocks=NUM_HOST_BLOCKS, cost_model=cost_model
    )
    assert told == [alone(question) for question in crowd]
    assert scheduler.memory.num_swapped_out_blocks > 10
    assert scheduler.memory.num_swapped_in_blocks > 5


def test_copies_that_fail_cost_time_and_change_nothing():
    TRANSFER.fails_every, before = 3, TRANSFER.num_failed
    try:
        told, _ = served(CROWD, runner=ManualRunner(5), policy="swap", num_blocks=18, num_host_blocks=NUM_HOST_BLOCKS)
    finally:
        TRANSFER.fails_every = 0
    assert told == [alone(question) for question in CROWD]
    assert TRANSFER.num_failed - before > 5


def test_requests_with_the_same_beginning_share_blocks_and_yield_what_each_yields_alone():
    beginning = CROWD[0].prompt
    family = [Question(beginning + question.prompt, question.sampling) for question in CROWD]
    told, scheduler = served(family, steps_apart=2)
    assert told == [served([question], prefix_cache=False)[0][0] for question in family]
    assert scheduler.memory.num_found_tokens > 50


@pytest.mark.parametrize("max_chunk_tokens", [1, 2, 3, 7, 16])
def test_a_prompt_in_chunks_of_any_size_yields_what_a_whole_one_does(max_chunk_tokens: int):
    assert served(CROWD, max_chunk_tokens=max_chunk_tokens)[0] == [alone(question) for question in CROWD]


@pytest.mark.parametrize("system", SYSTEMS)
def test_late_arrivals_change_nothing(system: str):
    assert served(CROWD, steps_apart=3, policy=system)[0] == [alone(question) for question in CROWD]


def test_every_token_is_the_first_of_a_fresh_request_with_all_before_it_as_prompt():
    whole = [question for question in CROWD if len(alone(question).context) < MAX_MODEL_LEN]  # results were not cut to fit
    question = max(whole, key=lambda question: len(alone(question).results))
    told = alone(question)
    assert len(told.results) >= 2
    position, sampled, closing = len(question.prompt), list(told.token_ids), TOKENIZER.encode_text("]")[0]
    while sampled:
        sampling = SamplingParams(max_tokens=1, temperature=question.sampling.temperature, seed=question.sampling.seed)
        token_id = sampled.pop(0)
        assert alone(Question(told.context[:position], sampling)).token_ids == (token_id,)
        called = "[Echo(" in TOKENIZER.decode([token_id])
        position = told.context.index(closing, position) + 1 if called and sampled else position + 1


def test_the_same_seed_draws_the_same_and_another_seed_something_else():
    prompt = CROWD[0].prompt
    first, again, other = (
        served([Question(prompt, SamplingParams(max_tokens=12, temperature=1.0, seed=seed))])[0][0] for seed in (5, 5, 6)
    )
    assert first == again
    assert first.token_ids != other.token_ids


@settings(max_examples=examples(12), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    system=st.sampled_from(list(SYSTEMS)),
    num_blocks=st.integers(17, 40),
    max_chunk_tokens=st.integers(1, 16),
    max_num_seqs=st.integers(1, 4),
    spare_budget=st.integers(0, 28),
    steps_apart=st.integers(0, 6),
    delay_polls=st.integers(0, 9),
    num_host_blocks=st.just(0) | st.integers(1, NUM_HOST_BLOCKS),
    cost_model=st.sampled_from([None, SLOW_LINK, FAST_LINK]),
    prefix_cache=st.booleans(),
    preserve_limit_s=st.sampled_from([None, 0.0, 0.5]),
    fails_every=st.sampled_from([0, 0, 2, 5]),
)
@pytest.mark.slow
def test_no_interleaving_changes_a_token(
    seed: int,
    system: str,
    num_blocks: int,
    max_chunk_tokens: int,
    max_num_seqs: int,
    spare_budget: int,
    steps_apart: int,
    delay_polls: int,
    num_host_blocks: int,
    cost_model: CostModel | None,
    prefix_cache: bool,
    preserve_limit_s: float | None,
    fails_every: int,
):
    questions = some_questions(seed, 5)
    undisturbed = [alone(question) for question in questions]
    TRANSFER.fails_every = fails_every
    try:
        told, _ = served(
            questions,
            runner=ManualRunner(delay_polls),
            steps_apart=steps_apart,
            policy=system,
            num_blocks=num_blocks,
            max_chunk_tokens=max_chunk_tokens,
            max_num_seqs=max_num_seqs,
            token_budget=max_num_seqs + spare_budget,
            num_host_blocks=num_host_blocks,
            cost_model=cost_model,
            prefix_cache=prefix_cache,
            preserve_limit_s=preserve_limit_s,
        )
    finally:
        TRANSFER.fails_every = 0
    assert told == undisturbed
