import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.block_manager import NULL_BLOCK, BlockManager, OutOfBlocks


@pytest.mark.parametrize(("num_blocks", "block_size"), [(1, 4), (0, 4), (-3, 4), (2, 0), (2, -1)])
def test_a_pool_without_a_usable_block_is_refused(num_blocks: int, block_size: int):
    with pytest.raises(ValueError, match="must be"):
        BlockManager(num_blocks, block_size)


def test_the_null_block_is_never_handed_out():
    blocks = BlockManager(5, 2)
    held: list[int] = []
    blocks.extend("a", held, blocks.num_free_blocks)
    assert NULL_BLOCK not in held
    assert len(held) == 4
    assert blocks.capacity_tokens == 8


def test_a_request_that_asks_for_more_than_is_free_gets_nothing():
    blocks = BlockManager(4, 2)
    held: list[int] = []
    with pytest.raises(OutOfBlocks, match="r needs 4 blocks, 3 are free"):
        blocks.extend("r", held, 4)
    assert held == []
    assert blocks.num_free_blocks == 3


def test_freeing_empties_the_list_of_the_holder():
    blocks = BlockManager(4, 2)
    held: list[int] = []
    blocks.extend("r", held, 2)
    blocks.free(held)
    assert held == []
    assert blocks.num_free_blocks == 3


def test_a_block_cannot_be_freed_twice():
    blocks = BlockManager(4, 2)
    held: list[int] = []
    blocks.extend("r", held, 1)
    twice = list(held)
    blocks.free(held)
    with pytest.raises(KeyError):
        blocks.free(twice)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 90))
def test_missing_blocks_are_the_fewest_that_hold_the_tokens(block_size: int, num_held: int, num_tokens: int):
    missing = BlockManager(2, block_size).num_missing_blocks(list(range(num_held)), num_tokens)
    fewest = next(more for more in range(100) if (num_held + more) * block_size >= num_tokens)
    assert missing == fewest


@given(st.integers(2, 12), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=40))
def test_the_ledger_balances_after_every_entry(num_blocks: int, entries: list[tuple[str, int, bool]]):
    blocks = BlockManager(num_blocks, 4)
    held: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for request_id, count, free in entries:
        if free:
            blocks.free(held[request_id])
        elif count <= blocks.num_free_blocks:
            before = list(held[request_id])
            blocks.extend(request_id, held[request_id], count)
            assert held[request_id][: len(before)] == before, "blocks that hold tokens changed their place"
        else:
            with pytest.raises(OutOfBlocks):
                blocks.extend(request_id, held[request_id], count)
        blocks.check(held)
        assert blocks.num_free_blocks + sum(map(len, held.values())) + 1 == num_blocks


@pytest.mark.parametrize("claim", [{}, {"a": [1, 1, 2]}, {"a": [1]}, {"b": [1, 2]}, {"a": [1], "b": [2]}, {"a": [1, 3]}])
def test_a_ledger_that_does_not_balance_is_found_out(claim: dict[str, list[int]]):
    blocks = BlockManager(5, 4)
    held: list[int] = []
    blocks.extend("a", held, 2)
    blocks.check({"a": held})
    with pytest.raises(AssertionError):
        blocks.check(claim)
