"""Blocks go to the host and come back while other steps run, and nobody's tokens change."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.registry import LoadedModel
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan, StepResult
from lamps_jax.sched.request import SamplingParams
from tests.factories import engine_config, gptj_config, lively_model
from tests.faulty_bus import FaultyBus, faulty_bus

Blocks: TypeAlias = Sequence[int]

NUM_BLOCKS = 49
BLOCK_BYTES = 2 * 2 * 4 * 16 * 4
CONFIG = engine_config(max_num_seqs=3, max_chunk_tokens=32, max_model_len=64, host_kv_bytes=40 * BLOCK_BYTES + 1)
PROMPT = np.random.default_rng(1).integers(1, 96, 30).tolist()
OTHER = np.random.default_rng(2).integers(1, 96, 30).tolist()
HOME, ELSEWHERE = list(range(1, 17)), list(range(40, 24, -1))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return lively_model(gptj_config(num_layers=1))


@pytest.fixture
def bus() -> Iterator[FaultyBus]:
    with faulty_bus() as bus:
        yield bus


@pytest.fixture(scope="module")
def compilations() -> Iterator[list[str]]:
    seen: list[str] = []

    def listen(event: str, duration_s: float, **_: object) -> None:
        if "backend_compile" in event:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module")
def warm_executor(model: LoadedModel, compilations: list[str]) -> JaxExecutor:
    executor = JaxExecutor(model, CONFIG, num_blocks=NUM_BLOCKS)
    progress: list[tuple[int, int]] = []
    executor.warm_up(lambda done, total: progress.append((done, total)))
    assert progress == [(done, 13) for done in range(14)]  # two chunk sizes, three batch sizes; four sizes out and back
    assert len(compilations) >= 13
    return executor


@pytest.fixture
def executor(warm_executor: JaxExecutor, bus: FaultyBus) -> JaxExecutor:
    """Warm, with an empty host and nothing under way."""
    warm_executor.host_pool._transfer = jax.device_put
    warm_executor.submit(StepPlan(0))
    warm_executor.host_pool.clear()
    warm_executor.host_pool.take_lost_on_host()
    warm_executor.host_pool._transfer = bus
    return warm_executor


def run(executor: JaxExecutor, *plans: StepPlan) -> StepResult:
    """Submits each plan one ahead of the one collected; the last result."""
    handles = [executor.submit(plan) for plan in plans]
    return [executor.collect(handle) for handle in handles][-1]


def prefill(tokens: list[int], blocks: Blocks, slot: int = 0) -> StepPlan:
    return StepPlan(0, (PrefillChunk(f"r{slot}", slot, tokens, 0, blocks, SamplingParams(), sample=True, ban_eos=False),))


def decode(position: int, token: int, blocks: Blocks, slot: int = 0) -> Decode:
    return Decode(f"r{slot}", slot, token, position, blocks, ban_eos=False)


def copies(device: Blocks, host: Blocks) -> tuple[BlockCopy, ...]:
    return tuple(BlockCopy(*pair) for pair in zip(device, host, strict=True))


def bits(executor: JaxExecutor, blocks: Blocks) -> np.ndarray:
    """Keys and values of blocks, one row a block."""
    arrays = [np.array(array)[list(blocks)] for array in jax.tree.leaves(executor._pool)]
    return np.stack(arrays, axis=1).view(np.uint32)


def fill(executor: JaxExecutor, seed: int) -> None:
    """Random bits into every block."""
    random = np.random.default_rng(seed)

    def noise(array: jax.Array) -> jax.Array:
        return jnp.array(random.integers(0, 2**32, array.shape, np.uint32).view(np.float32))

    executor._pool = jax.tree.map(noise, executor._pool)


@pytest.fixture
def undisturbed(executor: JaxExecutor) -> list[int]:
    """Tokens after `PROMPT` and 7 whose blocks stay where they are, and the token after that."""
    run(executor, prefill(PROMPT, HOME))
    first = run(executor, StepPlan(1, decodes=(decode(30, 7, HOME),))).sampled["r0"]
    second = run(executor, StepPlan(2, decodes=(decode(31, first, HOME),))).sampled["r0"]
    return [first, second]


def continued(executor: JaxExecutor, blocks: Blocks) -> list[int]:
    slot_is_new = prefill(PROMPT[:1], blocks[-1:], slot=2)  # its table is none of slot 0's
    run(executor, slot_is_new)
    tokens = [7]
    for position in (30, 31):
        plan = StepPlan(position, decodes=(decode(position, tokens[-1], blocks, slot=1),))
        tokens.append(run(executor, plan).sampled["r1"])
    return tokens[1:]


def set_table(executor: JaxExecutor, blocks: Blocks) -> None:
    """Gives slot 1 the table `blocks` with a chunk whose one token falls into the last of them."""
    chunk = PrefillChunk("r1", 1, [1], 63, blocks, SamplingParams(), sample=False, ban_eos=False)
    run(executor, StepPlan(0, (chunk,)))


def test_host_blocks_are_as_many_as_fit_into_the_bytes(executor: JaxExecutor) -> None:
    assert executor.block_bytes == BLOCK_BYTES
    assert executor.num_host_blocks == executor.host_pool.num_blocks == 40


def test_every_bit_of_many_blocks_comes_back_wherever_it_is_wanted(executor: JaxExecutor) -> None:
    random = np.random.default_rng(3)
    fill(executor, seed=4)
    sources, targets = ((1 + random.permutation(48)[:39]).tolist() for _ in range(2))
    host = random.permutation(40)[:39].tolist()
    before = bits(executor, range(NUM_BLOCKS))
    run(executor, StepPlan(0, swap_outs=copies(sources, host)))
    fill(executor, seed=5)
    after = bits(executor, range(NUM_BLOCKS))
    run(executor, StepPlan(1, swap_ins=copies(targets, host)), StepPlan(2))
    after[targets] = before[sources]
    np.testing.assert_array_equal(bits(executor, range(NUM_BLOCKS)), after)


def test_the_pool_stays_where_it_is(executor: JaxExecutor) -> None:
    """A gather whose reading were not over when the pool is donated could make XLA copy the pool."""
    fill(executor, seed=6)
    run(executor, prefill(PROMPT, HOME))
    pointers = [array.unsafe_buffer_pointer() for array in jax.tree.leaves(executor._pool)]
    plans = [
        StepPlan(step, decodes=(decode(30 + step, 7, HOME),), swap_outs=copies(HOME, HOME), swap_ins=copies([40], [17 + step]))
        for step in range(1, 6)
    ]
    run(executor, StepPlan(0, swap_outs=copies(HOME, range(17, 33))), *plans, StepPlan(6))
    assert [array.unsafe_buffer_pointer() for array in jax.tree.leaves(executor._pool)] == pointers


def test_tokens_are_the_same_after_a_swap_to_other_blocks(executor: JaxExecutor, undisturbed: list[int]) -> None:
    host = list(range(16, 0, -1))
    run(executor, prefill(PROMPT, HOME), StepPlan(1, swap_outs=copies(HOME, host)))
    run(executor, prefill(OTHER, HOME))
    set_table(executor, ELSEWHERE)
    run(executor, StepPlan(3, swap_ins=copies(ELSEWHERE, host)), StepPlan(4))
    assert continued(executor, ELSEWHERE) == undisturbed


def test_block_may_be_written_by_the_plan_that_swaps_it_out(executor: JaxExecutor, undisturbed: list[int]) -> None:
    host = list(range(16))
    new_owner = prefill(OTHER, HOME).prefills
    run(executor, prefill(PROMPT, HOME), StepPlan(1, new_owner, swap_outs=copies(HOME, host)))
    set_table(executor, ELSEWHERE)
    run(executor, StepPlan(3, swap_ins=copies(ELSEWHERE, host)), StepPlan(4))
    assert continued(executor, ELSEWHERE) == undisturbed


def test_blocks_are_there_for_the_plan_after_the_one_that_swaps_in(executor: JaxExecutor, undisturbed: list[int]) -> None:
    run(executor, prefill(PROMPT, HOME), StepPlan(1, swap_outs=copies(HOME, HOME)))
    set_table(executor, ELSEWHERE)
    reading = StepPlan(4, decodes=(decode(30, 7, ELSEWHERE, slot=1),))
    assert run(executor, StepPlan(3, swap_ins=copies(ELSEWHERE, HOME)), reading).sampled == {"r1": undisturbed[0]}


def test_host_block_overwritten_while_it_comes_back_comes_as_it_was(executor: JaxExecutor) -> None:
    fill(executor, seed=7)
    first, second = bits(executor, [3])[0], bits(executor, [4])[0]
    plans = (
        StepPlan(0, swap_outs=copies([3], [0])),
        StepPlan(1, swap_ins=copies([10], [0])),
        StepPlan(2, swap_outs=copies([4], [0])),
        StepPlan(3, swap_ins=copies([11], [0])),
        StepPlan(4),
    )
    run(executor, *plans)
    np.testing.assert_array_equal(bits(executor, [10, 11]), [first, second])


def test_block_given_to_another_request_while_its_swap_in_is_pending_is_the_others(executor: JaxExecutor) -> None:
    """Its old owner was aborted; what was on the way arrives before the new owner's chunk runs."""
    run(executor, prefill(OTHER, HOME))
    expected = bits(executor, HOME[:8])
    fill(executor, seed=8)
    run(
        executor,
        StepPlan(0, swap_outs=copies(ELSEWHERE, range(16))),
        StepPlan(1, swap_ins=copies(HOME, range(16))),
        prefill(OTHER, HOME),
    )
    written = np.s_[:7]  # 28 of the 30 tokens fill seven blocks
    np.testing.assert_array_equal(bits(executor, HOME[:8])[written], expected[written])


def test_block_swapped_out_right_after_it_was_swapped_in_carries_what_came(executor: JaxExecutor) -> None:
    fill(executor, seed=9)
    wanted = bits(executor, [3])
    run(
        executor,
        StepPlan(0, swap_outs=copies([3], [0])),
        StepPlan(1, swap_ins=copies([10], [0])),
        StepPlan(2, swap_outs=copies([10], [1])),
        StepPlan(3, swap_ins=copies([12], [1])),
        StepPlan(4),
    )
    np.testing.assert_array_equal(bits(executor, [12]), wanted)


@pytest.mark.parametrize("how", ["refuse", "break_later"])
def test_lost_swap_in_is_told_with_the_step_that_would_have_read_it(how: str, executor: JaxExecutor, bus: FaultyBus) -> None:
    fill(executor, seed=10)
    before = bits(executor, range(NUM_BLOCKS))
    run(executor, StepPlan(0, swap_outs=copies([1, 2, 3], [0, 1, 2])))
    setattr(bus, how, lambda number, sharding: number == 4 if how == "break_later" else number >= 4)
    results = [
        executor.collect(executor.submit(plan))
        for plan in (StepPlan(1, swap_ins=copies([21, 22, 23], [0, 1, 2])), StepPlan(2), StepPlan(3))
    ]
    lost = {22} if how == "break_later" else {22, 23}  # the copies are numbered 3, 4 and 5
    assert [result.lost_blocks for result in results] == [frozenset(), lost, frozenset()]
    after = bits(executor, range(NUM_BLOCKS))
    before[[21, 23] if how == "break_later" else [21]] = before[[1, 3] if how == "break_later" else [1]]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("how", ["refuse", "break_later"])
def test_lost_swap_out_is_told_once_and_the_engine_goes_on(how: str, executor: JaxExecutor, bus: FaultyBus) -> None:
    setattr(bus, how, lambda number, sharding: number == 1)
    executor.collect(executor.submit(prefill(PROMPT, HOME)))
    lost = [executor.collect(executor.submit(StepPlan(1, swap_outs=copies([1, 2], [5, 6])))).lost_host_blocks]
    executor.host_pool.wait()
    setattr(bus, how, lambda number, sharding: False)
    late = executor.collect(executor.submit(StepPlan(2, swap_ins=copies([41, 42], [5, 6]))))
    after = executor.collect(executor.submit(prefill(PROMPT, HOME)))
    lost += [late.lost_host_blocks, after.lost_host_blocks]
    reported = {5, 6} if how == "refuse" else {6}  # what begins in one call is refused together
    assert sorted(block for blocks in lost for block in blocks) == sorted(reported)
    assert after.lost_blocks == {block + 36 for block in reported}
    assert "r0" in after.sampled


def test_nothing_compiles_after_warm_up(executor: JaxExecutor, compilations: list[str]) -> None:
    before = len(compilations)
    for count in range(1, 41):
        blocks = range(1, 1 + count)
        run(executor, StepPlan(0, swap_outs=copies(blocks, range(count))), StepPlan(1, swap_ins=copies(blocks, range(count))))
    run(executor, prefill(PROMPT, HOME), StepPlan(1, decodes=(decode(30, 7, HOME),)))
    assert len(compilations) == before


@pytest.mark.slow
def test_warm_up_leaves_no_trace_of_its_swaps(model: LoadedModel) -> None:
    executor = JaxExecutor(model, engine_config(max_num_seqs=1, max_chunk_tokens=16, host_kv_bytes=BLOCK_BYTES), num_blocks=25)
    executor.warm_up()
    assert not any(np.asarray(array[1:]).any() for array in jax.tree.leaves(executor._pool))
    assert executor.host_pool._blocks == {}
    assert executor.host_pool.out.num_blocks == executor.host_pool.back.num_blocks == 0


def test_without_host_memory_no_swap_program_is_compiled(model: LoadedModel) -> None:
    executor = JaxExecutor(model, engine_config(), num_blocks=NUM_BLOCKS)
    assert executor.num_host_blocks == 0
    assert executor._swap_sizes == ()
