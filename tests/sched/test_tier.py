"""What is evicted first, and that a tier's ledger survives any use."""

import random

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.prefix_index import block_digest, cost_aware, least_recently_used, root_digest
from lamps_jax.sched.tier import OutOfBlocks, Tier

ROOT = root_digest("")
QUADRATIC = CostModel(0.0, 1e-3, 1e-5, 0.0, 0.0)


def cached_chain(tier: Tier, name: int, length: int, *, will_return: bool = False) -> list[int]:
    """Takes, indexes and releases a text of `length` blocks; its last block first, as a request does."""
    held, parent = tier.take(length), ROOT
    for position, block in enumerate(held):
        digest = block_digest(parent, [name, position])
        tier.index(block, digest, parent, position)
        parent = digest
    for block in reversed(held):
        tier.release(block, will_return=will_return)
    return held


def evicted(tier: Tier, *chains: list[int]) -> list[tuple[int, int]]:
    """``(chain, position)`` in the order in which a full tier gives its blocks up."""
    place = {block: (name, position) for name, chain in enumerate(chains) for position, block in enumerate(chain)}
    order = []
    for _ in place:
        (block,) = tier.take(1)
        order.append(place[block])
    return order


def test_free_blocks_are_taken_before_cached_ones_are_evicted():
    tier = Tier(0, 5)
    chain = cached_chain(tier, 0, 2)
    assert not set(tier.take(3)) & set(chain)
    assert tier.num_evictions == 0
    assert tier.take(1) == [chain[1]]
    assert tier.num_evictions == 1


def test_asking_for_more_than_can_be_had_takes_nothing():
    tier = Tier(0, 3)
    cached_chain(tier, 0, 2)
    with pytest.raises(OutOfBlocks, match="4 blocks are needed, 3 are free"):
        tier.take(4)
    assert (tier.num_free, tier.num_cached) == (3, 2)


def test_the_least_recently_used_text_is_evicted_first_and_its_end_before_its_beginning():
    tier = Tier(0, 6, eviction=least_recently_used)
    chains = []
    for name in range(3):
        tier.now_s = float(name)
        chains.append(cached_chain(tier, name, 2))
    tier.now_s = 9.0
    for block in chains[0]:
        tier.hold(block)
    for block in reversed(chains[0]):
        tier.release(block)
    assert evicted(tier, *chains) == [(1, 1), (1, 0), (2, 1), (2, 0), (0, 1), (0, 0)]


def test_a_block_deep_in_a_text_costs_more_to_compute_and_stays_longer_than_a_shallow_one():
    tier = Tier(0, 7, eviction=cost_aware(QUADRATIC, 16, 60.0))
    long, short = cached_chain(tier, 0, 5), cached_chain(tier, 1, 2)
    assert evicted(tier, long, short)[:2] == [(1, 1), (1, 0)]


def test_what_a_paused_request_will_want_again_stays_longer_than_what_nobody_may_want():
    tier = Tier(0, 4, eviction=cost_aware(QUADRATIC, 16, 60.0))
    paused = cached_chain(tier, 0, 2, will_return=True)
    finished = cached_chain(tier, 1, 2)
    assert evicted(tier, paused, finished) == [(1, 1), (1, 0), (0, 1), (0, 0)]


def test_what_was_found_often_stays_longer_until_it_was_not_used_for_long():
    for wait_s, first in ((1.0, 1), (600.0, 0)):
        tier = Tier(0, 4, eviction=cost_aware(QUADRATIC, 16, 60.0))
        popular = cached_chain(tier, 0, 2)
        for block in popular:
            tier.hold(block)
            for _ in range(9):
                tier.count_hit(block)
        for block in reversed(popular):
            tier.release(block)
        tier.now_s += wait_s
        other = cached_chain(tier, 1, 2)
        assert evicted(tier, popular, other)[0][0] == first


def test_a_block_that_others_need_to_be_found_is_evicted_only_when_nothing_else_is_left():
    tier = Tier(0, 2)
    parent, child = tier.take(2)
    first = block_digest(ROOT, [1])
    tier.index(parent, first, ROOT, 0)
    tier.index(child, block_digest(first, [2]), first, 1)
    tier.release(parent)
    assert tier.take(1) == [parent]
    tier.check([parent, child])


def test_content_is_known_once_and_a_second_block_of_it_is_an_ordinary_one():
    tier = Tier(0, 3)
    first, second = tier.take(2)
    digest = block_digest(ROOT, [1])
    for block in (first, second):
        tier.index(block, digest, ROOT, 0)
    assert tier.find(digest) == first
    tier.release(second)
    tier.release(first)
    assert tier.num_cached == 1
    tier.check([])


def test_a_forgotten_block_is_not_found_and_is_free_at_once_if_nobody_holds_it():
    tier = Tier(0, 3)
    (block, *_), digest = cached_chain(tier, 0, 2), block_digest(ROOT, [0, 0])
    assert tier.find(digest) == block
    tier.forget(block)
    assert tier.find(digest) is None
    assert tier.num_cached == 1
    tier.check([])


def test_a_watcher_is_told_how_long_cached_blocks_lay_until_they_were_found_or_given_up():
    class Watcher:
        def __init__(self) -> None:
            self.told: list[tuple[str, float, float]] = []

        def reused(self, idle_s: float) -> None:
            self.told.append(("reused", 0.0, idle_s))

        def evicted(self, lifetime_s: float, idle_s: float) -> None:
            self.told.append(("evicted", lifetime_s, idle_s))

    tier, watcher = Tier(1, 2), Watcher()
    tier.watcher = watcher
    (block,) = tier.take(1)
    tier.now_s = 10.0
    tier.index(block, block_digest(ROOT, [1]), ROOT, 0)
    tier.hold(block)  # held already: it has not lain
    tier.release(block)
    tier.now_s = 13.0
    tier.release(block)
    tier.now_s = 15.0
    tier.hold(block)
    tier.release(block)
    tier.now_s = 22.0
    tier.take(2)
    assert watcher.told == [("reused", 0.0, 2.0), ("evicted", 12.0, 7.0)]


def test_the_ledger_balances_through_any_use():
    rng = random.Random(3)
    for eviction in (least_recently_used, cost_aware(QUADRATIC, 4, 10.0)):
        tier, held, digests = Tier(1, 12, eviction=eviction), list[int](), [ROOT]
        for step in range(3000):
            tier.now_s = float(step)
            act = rng.random()
            if act < 0.35 and tier.num_free:
                held += tier.take(rng.randint(1, min(3, tier.num_free)))
            elif act < 0.6 and held:
                parent = rng.choice(digests[-20:])
                digests.append(block_digest(parent, [rng.randrange(4)]))
                tier.index(rng.choice(held), digests[-1], parent, rng.randrange(5))
            elif act < 0.7 and (found := tier.find(rng.choice(digests))) is not None:
                tier.hold(found)
                held.append(found)
            elif act < 0.73:
                tier.forget(rng.choice(tier.ids))
            elif held:
                tier.release(held.pop(rng.randrange(len(held))), will_return=rng.random() < 0.3)
            tier.check(held)
        assert tier.num_evictions > 50
