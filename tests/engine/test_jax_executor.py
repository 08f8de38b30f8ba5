"""The executor computes what plans say, and compiles nothing once it is warm."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.attention.reference import attend_within, causal_mask
from lamps_jax.models.registry import LoadedModel
from lamps_jax.models.weights import bind
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams
from tests.factories import engine_config, gptj_config, lively_model

NextToken: TypeAlias = Callable[[list[int]], int]

CONFIG = engine_config(max_num_seqs=3, max_chunk_tokens=32, max_model_len=64)
BLOCKS = {slot: list(range(1 + 16 * slot, 17 + 16 * slot)) for slot in range(3)}
PROMPT = np.random.default_rng(1).integers(1, 96, 40).tolist()


@pytest.fixture(scope="module")
def compilations() -> Iterator[list[str]]:
    """One entry a program that XLA compiles."""
    seen: list[str] = []

    def listen(event: str, duration_s: float, **_: object) -> None:
        if "backend_compile" in event:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return lively_model(gptj_config(num_layers=1))


@dataclass
class WarmUp:
    """What was seen of it."""

    progress: list[tuple[int, int]] = field(default_factory=list)
    num_compilations: int = 0
    blocks_are_untouched: bool = False


@pytest.fixture(scope="module")
def warm_up() -> WarmUp:
    return WarmUp()


@pytest.fixture(scope="module")
def executor(model: LoadedModel, compilations: list[str], warm_up: WarmUp) -> JaxExecutor:
    executor = JaxExecutor(model, CONFIG, num_blocks=49)
    before = len(compilations)
    executor.warm_up(lambda done, total: warm_up.progress.append((done, total)))
    warm_up.num_compilations = len(compilations) - before
    warm_up.blocks_are_untouched = not any(np.asarray(array[1:]).any() for layer in executor._pool for array in layer)
    return executor


def chunk(
    slot: int, tokens: list[int], *, start: int = 0, sample: bool = True, sampling: SamplingParams | None = None
) -> PrefillChunk:
    return PrefillChunk(f"r{slot}", slot, tokens, start, BLOCKS[slot], sampling or SamplingParams(), sample, ban_eos=False)


def decode(slot: int, position: int, token_id: int | None = None) -> Decode:
    return Decode(f"r{slot}", slot, token_id, position, BLOCKS[slot], ban_eos=False)


@pytest.fixture(scope="module")
def likeliest_next(model: LoadedModel) -> NextToken:
    """The token that dense attention finds likeliest after a text."""

    @jax.jit
    def likeliest(token_ids: jax.Array) -> jax.Array:
        bound = bind(model.graph, dict(zip(model.parameter_names, model.weights, strict=True)))
        length = token_ids.shape[1]
        mask = attend_within(causal_mask(1, length))
        hidden, _ = bound(token_ids, jnp.arange(length)[None], [None] * model.config.num_layers, mask)
        return bound.logits(hidden)[0].argmax(-1)

    def after(token_ids: list[int]) -> int:
        padded = np.zeros((1, CONFIG.scheduler.max_model_len), np.int32)
        padded[0, : len(token_ids)] = token_ids
        return int(likeliest(jnp.asarray(padded))[len(token_ids) - 1])

    return after


def test_samples_come_back_by_request_and_step(executor: JaxExecutor, likeliest_next: NextToken) -> None:
    plan = StepPlan(7, (chunk(0, PROMPT[:20]), chunk(1, PROMPT[:9]), chunk(2, PROMPT[:30], sample=False)), ())
    result = executor.collect(executor.submit(plan))
    assert result.step_id == 7
    assert result.sampled == {"r0": likeliest_next(PROMPT[:20]), "r1": likeliest_next(PROMPT[:9])}


def test_decodes_and_chunks_of_one_step_each_give_their_token(executor: JaxExecutor, likeliest_next: NextToken) -> None:
    executor.collect(executor.submit(StepPlan(0, (chunk(0, PROMPT[:20]), chunk(1, PROMPT[:9])), ())))
    plan = StepPlan(1, (chunk(2, PROMPT[5:25]),), (decode(1, 9, 33), decode(0, 20, 44)))
    assert executor.collect(executor.submit(plan)).sampled == {
        "r0": likeliest_next([*PROMPT[:20], 44]),
        "r1": likeliest_next([*PROMPT[:9], 33]),
        "r2": likeliest_next(PROMPT[5:25]),
    }


def test_next_step_may_be_submitted_before_the_last_is_collected(executor: JaxExecutor, likeliest_next: NextToken) -> None:
    handles = [executor.submit(StepPlan(0, (chunk(0, PROMPT[:20]),), ()))]
    handles += [executor.submit(StepPlan(step, (), (decode(0, 19 + step),))) for step in range(1, 6)]
    tokens = [executor.collect(handle).sampled["r0"] for handle in handles]
    known = PROMPT[:20]
    for token in tokens:
        assert token == likeliest_next(known)
        known = [*known, token]


def test_nothing_compiles_after_warm_up(executor: JaxExecutor, compilations: list[str], warm_up: WarmUp) -> None:
    assert warm_up.num_compilations >= 5  # the counter counts: two chunk sizes and three batch sizes
    before = len(compilations)
    kinds = [
        SamplingParams(),
        SamplingParams(temperature=1.0, seed=2**32 - 1),
        SamplingParams(temperature=0.5, top_k=3, top_p=0.5),
    ]
    for length in (1, 15, 16, 17, 31, 32):
        chunks = tuple(chunk(slot, PROMPT[:length], sampling=kinds[slot]) for slot in range(3))
        executor.collect(executor.submit(StepPlan(0, chunks, ())))
        for count in (1, 2, 3):
            decodes = tuple(decode(slot, length, None if slot % 2 else 5) for slot in range(count))
            executor.collect(executor.submit(StepPlan(1, chunks[count:], decodes)))
    executor.collect(executor.submit(StepPlan(2, (chunk(0, PROMPT[:32], start=31, sample=False),), (decode(1, 63),))))
    assert len(compilations) == before


@pytest.mark.usefixtures("executor")
def test_warm_up_reports_its_progress(warm_up: WarmUp) -> None:
    assert warm_up.progress == [(done, 5) for done in range(6)]


@pytest.mark.usefixtures("executor")
def test_warm_up_leaves_no_trace_outside_the_null_block(warm_up: WarmUp) -> None:
    assert warm_up.blocks_are_untouched


def test_block_bytes_are_those_of_keys_and_values_of_all_layers(executor: JaxExecutor, model: LoadedModel) -> None:
    shape = model.config
    assert executor.block_bytes == shape.num_layers * 2 * shape.num_heads * CONFIG.block_size * shape.head_dim * 4


def test_bfloat16_never_runs_a_batch_of_one_on_a_cpu() -> None:
    if jax.default_backend() != "cpu":
        pytest.skip("only the CPU is slow at it")
    config = engine_config(dtype="bfloat16", max_num_seqs=4)
    executor = JaxExecutor(lively_model(gptj_config(num_layers=1), dtype="bfloat16"), config, num_blocks=25)
    assert executor._batches.decode_sizes == (2, 4)
