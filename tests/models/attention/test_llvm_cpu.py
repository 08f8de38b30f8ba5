"""The CPU kernel gives what dense attention gives, from blocks that it reads in place and on as many threads as there are."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamps_jax.models.attention import reference, xla
from lamps_jax.models.attention.backend import Unsupported
from tests.factories import ProgramRunner, engine_config, gptj_config, lively_model
from tests.models.attention.paged_case import Case

llvm_cpu = pytest.importorskip("lamps_jax.models.attention.llvm_cpu", reason="needs llvmlite", exc_type=ImportError)
jitted = jax.jit(llvm_cpu.paged_attention, static_argnames="window")
dense = jax.jit(reference.paged_attention, static_argnames="window")

LENGTHS = [70, 3, 1, 16, 17, 64]


def case_of(head_dim: int, group: int, dtype: str = "float32", *, lengths: list[int] = LENGTHS, **changes: Any) -> Case:
    arguments = {"queries": 1, "block_size": 16, "kv_heads": 3, "seed": head_dim, "max_length": 80}
    storage = "uint16" if dtype == "bfloat16" else dtype
    return Case.random(lengths, head_dim=head_dim, group=group, dtype=dtype, storage=storage, **arguments | changes)


@pytest.mark.parametrize(
    ("dtype", "head_dim", "group", "window"),
    [
        ("float32", 64, 1, None), ("float32", 96, 2, 20), ("float32", 256, 1, 7), ("float32", 5, 1, None),
        ("float16", 64, 2, 1), ("float16", 128, 1, None), ("float16", 12, 3, None),
        ("bfloat16", 96, 1, 20), ("bfloat16", 128, 4, None), ("bfloat16", 256, 1, None), ("bfloat16", 80, 1, 17),
    ],
)  # fmt: skip
def test_decode_equals_dense_attention_over_what_is_stored(dtype: str, head_dim: int, group: int, window: int | None) -> None:
    case = case_of(head_dim, group, dtype)
    np.testing.assert_allclose(case.paged(jitted, window), case.paged(dense, window), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("block_size", [1, 7, 128])
def test_blocks_may_be_of_any_size(block_size: int) -> None:
    case = case_of(64, 2, block_size=block_size, lengths=[80, 1, 7, 8])
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("rows", "kv_heads"), [(1, 1), (1, 12), (1, 17), (3, 7), (40, 1)])
def test_every_head_of_every_row_is_dealt_out(rows: int, kv_heads: int) -> None:
    lengths = np.random.default_rng(rows).integers(1, 81, rows).tolist()
    case = case_of(16, 2, kv_heads=kv_heads, lengths=lengths)
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-5, atol=2e-6)


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    case = case_of(64, 1)
    case.q[:] *= 300
    np.testing.assert_allclose(case.paged(jitted), case.dense(), rtol=1e-4, atol=1e-4)


def test_padding_rows_are_finite_and_leave_the_others_alone() -> None:
    case = case_of(64, 1)
    padded = case.padded().paged(jitted)
    assert np.isfinite(padded).all()
    np.testing.assert_array_equal(padded[: len(LENGTHS)], case.paged(jitted))


def test_row_gets_the_same_numbers_alone_as_among_others() -> None:
    case = case_of(64, 2)
    together = case.paged(jitted)
    for row in range(len(LENGTHS)):
        here = slice(row, row + 1)
        alone = Case(case.q[here], case.k[here], case.v[here], case.blocks, case.table[here], case.positions[here])
        np.testing.assert_array_equal(alone.paged(jitted), together[here])


def test_callers_in_many_threads_each_get_their_own_result() -> None:
    cases = [case_of(64, 1, seed=seed) for seed in range(6)]
    expected = [case.paged(jitted) for case in cases]

    def repeat(at: int) -> bool:
        return all(np.array_equal(cases[at].paged(jitted), expected[at]) for _ in range(20))

    with ThreadPoolExecutor(len(cases)) as threads:
        assert all(threads.map(repeat, range(len(cases))))


def test_chunk_is_left_to_xla() -> None:
    case = case_of(16, 2, lengths=[70, 20], queries=9)
    np.testing.assert_array_equal(case.paged(jitted, 30), case.paged(jax.jit(xla.paged_attention, static_argnames="window"), 30))


def test_blocks_of_8_bits_are_refused_in_words() -> None:
    case = case_of(16, 1)
    blocks = (case.blocks[0].astype(jnp.int8), case.blocks[1].astype(jnp.int8))
    with pytest.raises(Unsupported, match="llvm_cpu reads blocks of float32, float16, uint16, got int8; use xla"):
        Case(case.q, case.k, case.v, blocks, case.table, case.positions).paged(jitted)


@pytest.mark.slow
def test_engine_s_programs_give_the_same_tokens_as_with_xla() -> None:
    model, prompts = lively_model(gptj_config(num_layers=1)), np.random.default_rng(0).integers(1, 96, (4, 16)).tolist()
    tokens = []
    for attention in (xla.paged_attention, llvm_cpu.paged_attention):
        runner = ProgramRunner(model, engine_config(), attention=attention)
        rows = [runner.row(slot) for slot in range(len(prompts))]
        steps = [
            [runner.prefill_in_chunks(row, prompt[: 9 * row.slot + 5], 16) for row, prompt in zip(rows, prompts, strict=True)]
        ]
        while len(steps) < 20:
            steps.append(runner.decode(rows, [None] * len(rows)))
        tokens.append(steps)
    assert tokens[0] == tokens[1]
    assert len(set(np.ravel(tokens[0]).tolist())) > 10


def test_pool_that_was_just_written_is_read_without_a_copy() -> None:
    model = lively_model(gptj_config(num_layers=1), dtype="bfloat16")
    runner = ProgramRunner(model, engine_config(dtype="bfloat16"), attention=llvm_cpu.paged_attention)
    pool = jax.tree.map(lambda array: jax.ShapeDtypeStruct((20_000, *array.shape[1:]), array.dtype), runner.pool)
    program: Any = runner.programs.decode
    memory = program.lower(model.weights, pool, runner.last_tokens, runner.batches.empty_decode(2)).compile().memory_analysis()
    pool_bytes = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(pool))
    assert memory.alias_size_in_bytes >= pool_bytes
    assert memory.temp_size_in_bytes <= 0.02 * pool_bytes
