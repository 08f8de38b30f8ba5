"""The programs update the pool in place, and what a request computes depends on nothing but its tokens."""

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.kv_cache.pool import Pool, decode, gather_blocks
from lamps_jax.models.registry import LoadedModel
from lamps_jax.sched.request import SamplingParams
from tests.factories import ProgramRunner, engine_config, gptj_config, lively_model

pytestmark = pytest.mark.usefixtures("optimised")

CONFIG = engine_config(max_chunk_tokens=16)
PROMPT = np.random.default_rng(0).integers(1, 96, 45).tolist()
DRAWN = SamplingParams(temperature=1.2, top_k=40, top_p=0.95, seed=9)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return lively_model(gptj_config())


@pytest.fixture(scope="module")
def shared_runner(model: LoadedModel) -> ProgramRunner:
    return ProgramRunner(model, CONFIG, smallest_decode_batch=4)


@pytest.fixture
def runner(shared_runner: ProgramRunner) -> ProgramRunner:
    """Compiled programs and a fresh pool."""
    shared_runner.pool = jax.tree.map(jnp.zeros_like, shared_runner.pool)
    shared_runner.last_tokens = jnp.zeros_like(shared_runner.last_tokens)
    return shared_runner


def written_slots(pool: Pool) -> set[tuple[int, int]]:
    """``(block, slot)`` of everything that is not zero, in any layer."""
    used = np.any([np.asarray(decode(array)).any((1, 3)) for layer in pool for array in layer], axis=0)
    return {(int(block), int(slot)) for block, slot in np.argwhere(used)}


@pytest.mark.parametrize("sampling", [SamplingParams(), DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("chunk", [1, 3, 7, 15])
def test_chunk_size_does_not_change_the_tokens(runner: ProgramRunner, sampling: SamplingParams, chunk: int) -> None:
    whole = runner.generate(runner.row(0, sampling=sampling), PROMPT, 12, chunk=16)
    assert runner.generate(runner.row(1, sampling=sampling, seed=1), PROMPT, 12, chunk=chunk) == whole
    assert len(set(whole)) > 2


def test_batch_of_many_gives_what_each_gives_alone(runner: ProgramRunner) -> None:
    kinds = [SamplingParams(), DRAWN, replace(DRAWN, seed=10), SamplingParams(temperature=0.5, seed=2**31)]
    prompts = [PROMPT[:5], PROMPT, PROMPT[7:30], PROMPT[20:]]
    alone = [
        runner.generate(runner.row(3, sampling=kind), prompt, 10, chunk=16) for kind, prompt in zip(kinds, prompts, strict=True)
    ]
    rows = [runner.row(slot, sampling=kind) for slot, kind in enumerate(kinds)]
    steps = [[runner.prefill_in_chunks(row, prompt, 16) for row, prompt in zip(rows, prompts, strict=True)]]
    while len(steps) < 10:
        steps.append(runner.decode(rows, [None] * 4))
    assert [list(tokens) for tokens in zip(*steps, strict=True)] == alone


def test_order_of_rows_in_a_batch_does_not_matter(runner: ProgramRunner) -> None:
    rows = [runner.row(slot, sampling=replace(DRAWN, seed=slot)) for slot in range(3)]
    for row in rows:
        runner.prefill_in_chunks(row, PROMPT[row.slot :], 16)
    forward = runner.decode(rows, [5, 6, 7])
    for row in rows:
        row.num_computed_tokens -= 1
    assert runner.decode(rows[::-1], [7, 6, 5])[::-1] == forward


def test_input_token_may_come_from_the_host_or_stay_on_the_device(runner: ProgramRunner) -> None:
    from_device = runner.generate(runner.row(0, sampling=DRAWN), PROMPT, 10, chunk=16)
    row = runner.row(1, sampling=DRAWN)
    from_host = [runner.prefill_in_chunks(row, PROMPT, 16)]
    while len(from_host) < 10:
        from_host += runner.decode([row], [from_host[-1]])
    assert from_host == from_device


def test_tokens_computed_twice_are_the_same_tokens(runner: ProgramRunner) -> None:
    """A request that lost its blocks prefills everything that it had, sampled tokens included."""
    tokens = runner.generate(runner.row(0, sampling=DRAWN), PROMPT, 12, chunk=16)
    resumed = runner.generate(runner.row(2, sampling=DRAWN, seed=3), PROMPT + tokens[:5], 7, chunk=16)
    assert resumed == tokens[5:]


def test_step_computed_again_over_a_junk_token_gives_the_same_token(runner: ProgramRunner) -> None:
    row = runner.row(0)
    runner.prefill_in_chunks(row, PROMPT, 16)
    expected = runner.decode([row], [17])
    row.num_computed_tokens -= 1
    runner.decode([row], [18])
    row.num_computed_tokens -= 1
    assert runner.decode([row], [17]) == expected


def test_chunk_that_is_not_sampled_leaves_the_slots_token_alone(runner: ProgramRunner) -> None:
    runner.last_tokens = jnp.arange(40, 40 + len(runner.last_tokens), dtype=jnp.int32)
    runner.prefill(runner.row(1), PROMPT[:16], sample=False)
    assert runner.last_tokens[:4].tolist() == [40, 41, 42, 43]
    sampled = runner.prefill(runner.row(2), PROMPT[:16], sample=True)
    assert runner.last_tokens[:4].tolist() == [40, 41, sampled, 43]


def test_decode_changes_the_tokens_of_its_own_slots_only(runner: ProgramRunner) -> None:
    runner.last_tokens = jnp.arange(40, 40 + len(runner.last_tokens), dtype=jnp.int32)
    (sampled,) = runner.decode([runner.row(2)], [5])
    assert runner.last_tokens[:4].tolist() == [40, 41, sampled, 43]


def test_end_of_text_is_banned_in_prefill_and_decode(
    runner: ProgramRunner, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    likes_eos = replace(model, weights=tuple(
        weight.at[0].set(1e3) if name == "output.bias" else weight
        for name, weight in zip(model.parameter_names, model.weights, strict=True)
    ))  # fmt: skip
    monkeypatch.setattr(runner, "model", likes_eos)
    row = runner.row(0)
    assert runner.prefill(row, PROMPT[:5]) == 0
    assert runner.decode([row], [None]) == [0]
    row = runner.row(1)
    assert runner.prefill(row, PROMPT[:5], ban_eos=True) != 0
    assert runner.decode([row], [None], ban_eos=True) != [0]


def test_prefill_writes_its_own_tokens_and_pads_into_the_null_block_only(runner: ProgramRunner) -> None:
    row = runner.row(1)
    runner.prefill(row, PROMPT[:6])
    own = {(row.block_ids[0], slot) for slot in range(4)} | {(row.block_ids[1], slot) for slot in range(2)}
    assert {place for place in written_slots(runner.pool) if place[0] != 0} == own


def test_decode_writes_its_own_tokens_and_pads_into_the_null_block_only(runner: ProgramRunner) -> None:
    rows = [runner.row(slot) for slot in range(2)]
    rows[1].num_computed_tokens = 5
    runner.decode(rows, [8, 9])
    own = {(rows[0].block_ids[0], 0), (rows[1].block_ids[1], 1)}
    assert {place for place in written_slots(runner.pool) if place[0] != 0} == own


def test_programs_do_not_touch_the_blocks_of_others(runner: ProgramRunner) -> None:
    other, row = runner.row(0), runner.row(1)
    runner.prefill_in_chunks(other, PROMPT, 16)
    before = [np.array(array[np.array(other.block_ids)]) for layer in runner.pool for array in layer]
    runner.generate(row, PROMPT, 5, chunk=16)
    after = [np.array(array[np.array(other.block_ids)]) for layer in runner.pool for array in layer]
    np.testing.assert_array_equal(before, after)


@pytest.mark.slow
def test_vectors_padded_to_whole_rows_of_lanes_give_the_same_tokens(
    runner: ProgramRunner, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runner.generate(runner.row(0, sampling=DRAWN), PROMPT, 12, chunk=16)
    monkeypatch.setattr("lamps_jax.kv_cache.pool.storage_dim", lambda head_dim: 128)  # as on a TPU
    padded = ProgramRunner(model, CONFIG)
    assert padded.pool[0][0].shape[-1] == 128
    assert padded.generate(padded.row(0, sampling=DRAWN), PROMPT, 12, chunk=16) == expected
    assert not any(np.asarray(decode(array))[..., model.config.head_dim :].any() for layer in padded.pool for array in layer)


def test_arrays_passed_in_are_gone(runner: ProgramRunner) -> None:
    pool, last_tokens = runner.pool, runner.last_tokens
    runner.decode([runner.row(0)], [5])
    assert all(array.is_deleted() for array in jax.tree.leaves((pool, last_tokens)))


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def narrow_runner(request: pytest.FixtureRequest) -> ProgramRunner:
    return ProgramRunner(lively_model(gptj_config(num_layers=1), dtype=request.param), engine_config(dtype=request.param))


def large(pool: Pool) -> Any:
    """The shape of a pool with many blocks."""
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct((20_000, *array.shape[1:]), array.dtype), pool)


def num_bytes(arrays: Any) -> int:
    return sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(arrays))


@pytest.mark.parametrize("program", ["prefill", "decode", "swap_in"])
def test_pool_is_updated_in_place_with_little_memory_beside(program: str, narrow_runner: ProgramRunner) -> None:
    runner, pool = narrow_runner, large(narrow_runner.pool)
    if program == "swap_in":
        block_ids = np.arange(8, dtype=np.int32)
        lowered = cast(Any, runner.programs.swap_in).lower(pool, gather_blocks(runner.pool, jnp.asarray(block_ids)), block_ids)
    else:
        packed = runner.batches.empty_decode(2) if program == "decode" else runner.batches.empty_prefill(16)
        lowered = getattr(runner.programs, program).lower(runner.model.weights, pool, runner.last_tokens, packed)
    memory = lowered.compile().memory_analysis()
    assert memory.alias_size_in_bytes >= num_bytes(pool)
    assert memory.temp_size_in_bytes <= 0.05 * num_bytes(pool)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_blocks_are_gathered_with_no_more_memory_than_they_take(count: int, narrow_runner: ProgramRunner) -> None:
    program: Any = narrow_runner.programs.swap_out
    pool, block_ids = large(narrow_runner.pool), np.arange(count, dtype=np.int32)
    memory = program.lower(pool, block_ids).compile().memory_analysis()
    moved = count * num_bytes(pool) / 20_000
    pointers = 8 * count  # of the tuple of results
    assert memory.temp_size_in_bytes <= 1.05 * moved
    assert 0 <= memory.output_size_in_bytes + memory.host_output_size_in_bytes - moved <= pointers


def test_swapped_blocks_come_back_to_other_places_in_the_same_memory(runner: ProgramRunner) -> None:
    row = runner.row(0)
    runner.prefill_in_chunks(row, PROMPT, 16)
    pointers = [array.unsafe_buffer_pointer() for array in jax.tree.leaves(runner.pool)]
    before = [np.array(array) for array in jax.tree.leaves(runner.pool)]
    sources, targets = np.array(row.block_ids[:8], np.int32), np.array(runner.row(1).block_ids[:8], np.int32)
    blocks = runner.programs.swap_out(runner.pool, sources)
    runner.pool = runner.programs.swap_in(runner.pool, jax.device_put(blocks, runner.pool[0][0].sharding), targets)
    for old, new in zip(before, jax.tree.leaves(runner.pool), strict=True):
        old[targets] = old[sources]
        np.testing.assert_array_equal(new, old)
    assert [array.unsafe_buffer_pointer() for array in jax.tree.leaves(runner.pool)] == pointers
