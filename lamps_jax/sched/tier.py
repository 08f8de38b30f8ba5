"""The account of one tier's blocks, of the device or of the host: which are free, held, or only cached. Never arrays."""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterable
from typing import Protocol

from lamps_jax.sched.prefix_index import Eviction, IndexedBlock, least_recently_used


class OutOfBlocks(RuntimeError):
    """Raised when more blocks are asked for than are free; nothing has been taken."""


class BlockWatcher(Protocol):
    """Is told what becomes of cached blocks."""

    def reused(self, idle_s: float) -> None:
        """One was found that nobody had held for so long."""
        ...

    def evicted(self, lifetime_s: float, idle_s: float) -> None:
        """One was given up that could be found for so long, and that nobody had held for so long."""
        ...


class Tier:
    """Blocks ``first … first + num_blocks - 1``, each free, held by one request or more, or cached.

    A *cached* block is held by nobody, but its content can still be found by digest; it is evicted when a block is wanted and
    none is free. Leaves go first: a block without the one before it could not be found.

    Attributes:
        now_s: The time on the engine's clock, kept up to date by the owner; blocks let go are aged by it.
        num_evictions: Cached blocks that were given up for others so far.
        watcher: Told what becomes of cached blocks; None for nobody.
    """

    def __init__(self, first: int, num_blocks: int, *, eviction: Eviction = least_recently_used):
        self.ids = range(first, first + num_blocks)
        self.now_s = 0.0
        self.num_evictions = 0
        self.watcher: BlockWatcher | None = None
        self._eviction = eviction
        self._free = deque(self.ids)
        self._references: dict[int, int] = {}
        self._by_digest: dict[bytes, IndexedBlock] = {}
        self._indexed: dict[int, IndexedBlock] = {}
        self._leaves: list[tuple[float, int, IndexedBlock]] = []  # a heap; entries with an old ticket are skipped
        self._tickets = itertools.count()

    @property
    def num_free(self) -> int:
        """Blocks that can be had: free or cached."""
        return len(self.ids) - len(self._references)

    @property
    def num_cached(self) -> int:
        """Blocks that nobody holds, but which can be found."""
        return self.num_free - len(self._free)

    def take(self, count: int) -> list[int]:
        """So many blocks for one holder, evicting cached ones where none is free.

        Raises:
            OutOfBlocks: If fewer can be had.
        """
        if count > self.num_free:
            raise OutOfBlocks(f"{count} blocks are needed, {self.num_free} are free")
        while len(self._free) < count:
            self._evict_one()
        taken = [self._free.popleft() for _ in range(count)]
        self._references.update(dict.fromkeys(taken, 1))
        return taken

    def hold(self, block: int) -> None:
        """Adds a holder to a block that is held or cached."""
        self._references[block] = self._references.get(block, 0) + 1
        if indexed := self._indexed.get(block):
            if self.watcher is not None and self._references[block] == 1:
                self.watcher.reused(self.now_s - indexed.last_used_s)
            indexed.last_used_s, indexed.ticket = self.now_s, -1
            indexed.will_return = False

    def release(self, block: int, *, will_return: bool = False) -> None:
        """Takes a holder from a block; without any left it is cached if it can be found, and free otherwise.

        Raises:
            KeyError: If nobody holds it.
        """
        if self._references[block] > 1:
            self._references[block] -= 1
            return
        del self._references[block]
        indexed = self._indexed.get(block)
        if indexed is None:
            self._free.append(block)
            return
        indexed.last_used_s, indexed.will_return = self.now_s, will_return
        self._offer(indexed)

    def is_held(self, block: int) -> bool:
        """Whether anybody holds it."""
        return block in self._references

    def is_shared(self, block: int) -> bool:
        """Whether more than one holds it."""
        return self._references.get(block, 0) > 1

    def find(self, digest: bytes) -> int | None:
        """The block of that content, if it is here; it may be cached, and is the caller's only once held."""
        indexed = self._by_digest.get(digest)
        return None if indexed is None else indexed.block

    def count_hit(self, block: int) -> None:
        """Notes that a request has found a block by its content."""
        self._indexed[block].num_hits += 1

    def index(self, block: int, digest: bytes, parent: bytes, position: int) -> None:
        """Lets a held block be found; nothing changes if another block of the same content can be, or this one can already.

        Args:
            parent: Digest of the block before it.
            position: Its place among the blocks of its text.
        """
        assert block in self._references, "only a held block has content to speak of"
        if digest in self._by_digest or block in self._indexed:
            return
        before = self._by_digest.get(parent)
        if before is not None:
            before.num_children += 1
            before.ticket = -1  # no leaf any more
        self._indexed[block] = self._by_digest[digest] = IndexedBlock(
            digest, block, position, before, indexed_s=self.now_s, last_used_s=self.now_s
        )

    def forget(self, block: int) -> None:
        """Lets a block not be found any more; one that was only cached becomes free."""
        indexed = self._indexed.pop(block, None)
        if indexed is None:
            return
        del self._by_digest[indexed.digest]
        indexed.ticket = -1
        if block not in self._references:
            self._free.append(block)
        if (parent := indexed.parent) is not None:
            parent.num_children -= 1
            if self._indexed.get(parent.block) is parent and parent.block not in self._references:
                self._offer(parent)

    def check(self, held: Iterable[int]) -> None:
        """Proves the ledger: free + cached + held = total, no block twice, as many holders as `held` names.

        Args:
            held: Every block that somebody holds, once for each holder.

        Raises:
            AssertionError: If it does not balance.
        """
        assert Counter(held) == Counter(self._references), "blocks lost, or held by others than the ledger says"
        cached = [block for block in self._indexed if block not in self._references]
        assert sorted([*self._free, *cached, *self._references]) == list(self.ids), "blocks lost or counted twice"
        assert self.num_cached == len(cached)
        assert {indexed.digest: indexed for indexed in self._indexed.values()} == self._by_digest
        offered = {indexed.block for _, ticket, indexed in self._leaves if ticket == indexed.ticket}
        assert offered == {block for block in cached if not self._indexed[block].num_children}, "leaves are not up for eviction"

    def _offer(self, indexed: IndexedBlock) -> None:
        """Puts a cached block up for eviction if no other block needs it to be found."""
        if indexed.num_children:
            return
        indexed.ticket = next(self._tickets)
        heapq.heappush(self._leaves, (self._eviction(indexed), indexed.ticket, indexed))
        if len(self._leaves) > 2 * len(self._indexed) + 64:
            self._leaves = [entry for entry in self._leaves if entry[1] == entry[2].ticket]
            heapq.heapify(self._leaves)

    def _evict_one(self) -> None:
        self.num_evictions += 1
        while self._leaves:
            _, ticket, indexed = heapq.heappop(self._leaves)
            if ticket == indexed.ticket:
                if self.watcher is not None:
                    self.watcher.evicted(self.now_s - indexed.indexed_s, self.now_s - indexed.last_used_s)
                self.forget(indexed.block)
                return
        # Left are blocks before ones that somebody computed twice and still holds.
        self.forget(next(block for block in self._indexed if block not in self._references))
