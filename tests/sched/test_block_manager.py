"""Both tiers' ledgers balance, shared blocks included, and blocks go to the host and back without losing their place."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.block_manager import NULL_BLOCK, BlockManager
from lamps_jax.sched.prefix_index import block_digest, root_digest
from lamps_jax.sched.tier import OutOfBlocks

ROOT = root_digest("")


def digests_of(*texts: Sequence[int]) -> list[bytes]:
    chain = [ROOT]
    for text in texts:
        chain.append(block_digest(chain[-1], text))
    return chain


def indexed(blocks: BlockManager, *texts: Sequence[int]) -> tuple[list[int], list[bytes]]:
    """Device blocks held by one request that can be found by the content `texts`."""
    held: list[int] = []
    chain = digests_of(*texts)
    blocks.extend("a", held, len(texts))
    for position, block in enumerate(held):
        blocks.device.index(block, chain[position + 1], chain[position], position)
    return held, chain


@pytest.mark.parametrize(
    ("num_blocks", "block_size", "num_host_blocks"), [(1, 4, 0), (0, 4, 0), (-3, 4, 0), (2, 0, 0), (2, -1, 0), (2, 4, -1)]
)
def test_a_pool_without_a_usable_block_is_refused(num_blocks: int, block_size: int, num_host_blocks: int):
    with pytest.raises(ValueError, match="must be"):
        BlockManager(num_blocks, block_size, num_host_blocks=num_host_blocks)


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
    with pytest.raises(OutOfBlocks, match="r: 4 blocks are needed, 3 are free"):
        blocks.extend("r", held, 4)
    assert held == []
    assert blocks.num_free_blocks == 3


def test_freeing_empties_the_lists_of_the_holder():
    blocks = BlockManager(4, 2, num_host_blocks=2)
    held: list[int] = []
    on_host: list[int] = []
    blocks.extend("r", held, 2)
    blocks.swap_out(held, on_host, [])
    blocks.free(held, on_host)
    assert (held, on_host) == ([], [])
    assert (blocks.num_free_blocks, blocks.host.num_free) == (3, 2)


def test_a_block_cannot_be_freed_twice():
    blocks = BlockManager(4, 2)
    held: list[int] = []
    blocks.extend("r", held, 1)
    twice = list(held)
    blocks.free(held, [])
    with pytest.raises(KeyError):
        blocks.free(twice, [])


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 90))
def test_missing_blocks_are_the_fewest_that_hold_the_tokens(block_size: int, num_held: int, num_tokens: int):
    missing = BlockManager(2, block_size).num_missing_blocks(num_held, num_tokens)
    fewest = next(more for more in range(100) if (num_held + more) * block_size >= num_tokens)
    assert missing == fewest


@given(
    st.integers(2, 12),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["extend", "free", "out", "in"])), max_size=60),
)
def test_the_ledger_balances_after_every_entry(num_blocks: int, num_host_blocks: int, entries: list[tuple[str, int, str]]):
    blocks = BlockManager(num_blocks, 4, num_host_blocks=num_host_blocks)
    held: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    on_host: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for now, (name, count, act) in enumerate(entries):
        blocks.begin_plan(float(now))
        whole = len(held[name]) + len(on_host[name])
        if act == "free":
            blocks.free(held[name], on_host[name])
        elif act == "out" and held[name] and blocks.host.num_free:
            blocks.swap_out(held[name], on_host[name], [])
            assert len(held[name]) + len(on_host[name]) == whole
        elif act == "in" and on_host[name] and blocks.num_free_blocks:
            blocks.swap_in(held[name], on_host[name], [])
            assert len(held[name]) + len(on_host[name]) == whole
        elif act == "extend" and not on_host[name] and count <= blocks.num_free_blocks:
            before = list(held[name])
            blocks.extend(name, held[name], count)
            assert held[name][: len(before)] == before, "blocks that hold tokens changed their place"
        blocks.check(held, on_host)
        assert blocks.num_free_blocks + sum(map(len, held.values())) + 1 == num_blocks


@pytest.mark.parametrize("claim", [{}, {"a": [1, 1, 2]}, {"a": [1]}, {"a": [1], "b": [2, 2]}, {"a": [1, 3]}])
def test_a_ledger_that_does_not_balance_is_found_out(claim: dict[str, list[int]]):
    blocks = BlockManager(5, 4)
    held: list[int] = []
    blocks.extend("a", held, 2)
    blocks.check({"a": held})
    with pytest.raises(AssertionError):
        blocks.check(claim)


def test_a_host_ledger_that_does_not_balance_is_found_out():
    blocks = BlockManager(5, 4, num_host_blocks=2)
    held: list[int] = []
    on_host: list[int] = []
    blocks.extend("a", held, 2)
    blocks.swap_out(held, on_host, [])
    blocks.check({"a": held}, {"a": on_host})
    with pytest.raises(AssertionError):
        blocks.check({"a": held})


def test_a_fork_shares_the_full_blocks_and_each_holder_lets_go_for_itself():
    blocks = BlockManager(6, 4)
    parent: list[int] = []
    blocks.extend("parent", parent, 3)
    child = blocks.fork(parent, 10)
    assert child == parent[:2]
    blocks.check({"parent": parent, "child": child})
    blocks.free(parent, [])
    assert blocks.num_free_blocks == 3
    blocks.check({"child": child})
    blocks.free(child, [])
    assert blocks.num_free_blocks == 5


def test_a_block_that_was_let_go_is_found_by_its_content_and_counts_as_free():
    blocks = BlockManager(6, 4)
    held, chain = indexed(blocks, [1, 2, 3, 4], [5, 6, 7, 8])
    kept = list(held)
    blocks.free(held, [])
    assert blocks.num_free_blocks == 5
    assert blocks.device.num_cached == 2
    assert blocks.find(chain[1:]) == (kept, [])
    blocks.hold_found(kept, [])
    assert blocks.num_free_blocks == 3
    blocks.check({"b": kept})


def test_the_same_tokens_behind_others_or_of_another_tenant_are_not_found():
    blocks = BlockManager(6, 4)
    indexed(blocks, [1, 2, 3, 4], [5, 6, 7, 8])
    for chain in (digests_of([5, 6, 7, 8]), [block_digest(root_digest("tenant"), [1, 2, 3, 4])]):
        assert blocks.find(chain[-1:]) == ([], [])


def test_a_swapped_block_that_can_be_found_is_copied_once_and_comes_back_without_a_copy_while_it_is_still_there():
    blocks = BlockManager(6, 4, num_host_blocks=4)
    held, chain = indexed(blocks, [1, 2, 3, 4])
    (block,) = held
    on_host: list[int] = []
    first = blocks.swap_out(held, on_host, chain)
    assert first is not None
    assert first.device_block == block
    assert blocks.swap_in(held, on_host, chain) is None
    assert held == [block]
    blocks.begin_plan(1.0)
    assert blocks.swap_out(held, on_host, chain) is None, "the host still had it"
    others: list[int] = []
    blocks.extend("b", others, 5)
    blocks.free(others, [])
    back = blocks.swap_in(held, on_host, chain)
    assert back is not None
    assert back.host_block == first.host_block
    blocks.check({"a": held}, {"a": on_host})


def test_a_host_block_that_is_being_read_is_not_written_in_the_same_plan():
    blocks = BlockManager(6, 4, num_host_blocks=1)
    held: list[int] = []
    on_host: list[int] = []
    blocks.extend("a", held, 1)
    blocks.swap_out(held, on_host, [])
    blocks.swap_in(held, on_host, [])
    assert blocks.host.num_free == 0
    blocks.begin_plan(1.0)
    assert blocks.host.num_free == 1


def test_the_beginning_of_a_text_is_found_on_the_device_first_and_goes_on_on_the_host():
    blocks = BlockManager(6, 4, num_host_blocks=4)
    held, chain = indexed(blocks, [1] * 4, [2] * 4, [3] * 4)
    on_host: list[int] = []
    blocks.swap_out(held, on_host, chain)
    blocks.device.take(3)  # the device's copy is gone
    assert blocks.find(chain[1:]) == (held, on_host)
    assert blocks.find(chain[2:]) == (held[1:], on_host)
