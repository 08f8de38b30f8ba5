"""What happens to requests' blocks: they grow, are found again, give way, move to the host and back.

The scheduler decides whose turn it is; here the decision is carried out on the ledger, and the copies that the executor has to
make are collected for the plan.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.plan import BlockCopy
from lamps_jax.sched.prefix_index import block_digest, root_digest
from lamps_jax.sched.request import Request
from lamps_jax.sched.swap_budget import SwapBudget, swap_budget

UNLIMITED = 2**31
"""Blocks a step where nothing is known of the machine."""


class _Computed(NamedTuple):
    """Tokens of a request that a submitted step computes, as long as the request's blocks stay what they were."""

    request: Request
    generation: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A block on its way to the device, to be found there once the next plan can read it."""

    request: Request
    generation: int
    position: int


class Memory:
    """Acts on the blocks of requests.

    Args:
        prefix_cache: Whether blocks can be found by their content; None leaves it to the configuration.

    Attributes:
        num_swapped_out_blocks: Copied to the host so far.
        num_swapped_in_blocks: Copied back so far.
        num_lost_blocks: Blocks whose copy failed.
        num_found_tokens: Tokens that requests did not have to compute because their blocks were found.
    """

    def __init__(
        self, blocks: BlockManager, config: SchedulerConfig, cost_model: CostModel | None, *, prefix_cache: bool | None = None
    ):
        self.blocks = blocks
        self.prefix_cache = config.prefix_cache if prefix_cache is None else prefix_cache
        self.num_swapped_out_blocks = self.num_swapped_in_blocks = self.num_lost_blocks = self.num_found_tokens = 0
        self._cost_model = cost_model
        self._budget = SwapBudget(0, 0)
        self._swap_outs: list[BlockCopy] = []
        self._swap_ins: list[BlockCopy] = []
        self._arriving: list[_Arrival] = []
        self._unproven: dict[int, int] = {}  # device blocks whose copy may turn out to have failed, and the plans that bring them
        self._computing: deque[tuple[int, list[_Computed]]] = deque()

    # A plan.

    def begin_plan(self, now: float, num_tokens: int, num_context_tokens: int) -> None:
        """Opens a plan whose step is expected to compute `num_tokens` over contexts of `num_context_tokens` in all."""
        self.blocks.begin_plan(now)
        self._swap_outs, self._swap_ins = [], []
        for arrival in self._arriving:
            if arrival.generation == arrival.request.generation:
                self._index(arrival.request, arrival.position)
        self._arriving = []
        limit = UNLIMITED
        if self._cost_model is not None:
            limit = self._cost_model.blocks_swapped_within(self._cost_model.forward_s(num_tokens, num_context_tokens))
        new_blocks = -(-num_tokens // self.blocks.block_size)
        self._budget = swap_budget(limit, new_blocks, self.blocks.num_free_blocks)

    def copies(self) -> tuple[tuple[BlockCopy, ...], tuple[BlockCopy, ...]]:
        """The plan's swap-outs and swap-ins."""
        return tuple(self._swap_outs), tuple(self._swap_ins)

    def spend_leftovers_on_swap_outs(self) -> None:
        """From here on the plan brings nothing in: what is left of the budget is there for requests that leave anyway."""
        self._budget.merge()

    def note_computed(self, step_id: int, requests: Iterable[Request]) -> None:
        """Remembers how far a plan computes those of `requests` in which it completes a block, and what it brings."""
        self._unproven |= {copy.device_block: step_id for copy in self._swap_ins}
        if not self.prefix_cache:
            return
        size = self.blocks.block_size
        entries = [
            _Computed(request, request.generation, request.num_computed_tokens)
            for request in requests
            if request.num_computed_tokens // size > request.num_indexed_blocks
        ]
        self._computing.append((step_id, entries))

    def confirm_computed(self, step_id: int) -> None:
        """Lets the full blocks that steps up to `step_id` have completed be found; what steps before it brought has come."""
        self._unproven = {block: plan for block, plan in self._unproven.items() if plan >= step_id}
        while self._computing and self._computing[0][0] <= step_id:
            for entry in self._computing.popleft()[1]:
                request = entry.request
                if entry.generation != request.generation:
                    continue
                num_tokens = min(entry.num_tokens, request.num_computed_tokens, len(request.token_ids))
                self._extend_digests(request, num_tokens // self.blocks.block_size)
                for position in range(request.num_indexed_blocks, num_tokens // self.blocks.block_size):
                    self._index(request, position)
                    request.num_indexed_blocks = position + 1

    # One request.

    def num_missing_blocks(self, request: Request, num_tokens: int) -> int:
        """Device blocks that a request lacks to hold `num_tokens` tokens there; those on the host are among them."""
        return self.blocks.num_missing_blocks(len(request.block_ids), num_tokens)

    def extend(self, request: Request, num_tokens: int) -> None:
        """Gives a request device blocks for `num_tokens` tokens.

        Raises:
            OutOfBlocks: If too few are free.
        """
        self.blocks.extend(request.request_id, request.block_ids, self.num_missing_blocks(request, num_tokens))

    def discard(self, request: Request, *, will_return: bool = False) -> None:
        """Lets all of a request's blocks go; it computes again what cannot be found when it resumes."""
        mine, num_planned = set(request.block_ids), len(self._swap_ins)
        self._swap_ins = [copy for copy in self._swap_ins if copy.device_block not in mine]
        self._budget.ins += num_planned - len(self._swap_ins)
        self.num_swapped_in_blocks -= num_planned - len(self._swap_ins)
        self.blocks.free(request.block_ids, request.host_block_ids, will_return=will_return)
        request.num_computed_tokens = request.num_indexed_blocks = 0
        request.generation += 1

    def find_beginning(self, request: Request) -> tuple[list[int], list[int]]:
        """Device and host blocks that hold the beginning of a request without blocks; at least one token is left to compute."""
        num_blocks = (len(request.token_ids) - 1) // self.blocks.block_size
        if not self.prefix_cache or not num_blocks:
            return [], []
        self._extend_digests(request, num_blocks)
        on_device, on_host = self.blocks.find(request.block_digests[1 : num_blocks + 1])
        if on_host and self._cost_model is not None:
            num_tokens = len(on_host) * self.blocks.block_size
            again_s = self._cost_model.forward_s(num_tokens, len(on_device) * self.blocks.block_size + num_tokens)
            if self._cost_model.swap_s(len(on_host)) > again_s:
                on_host = []
        return on_device, on_host

    def num_cached(self, on_device: Iterable[int]) -> int:
        """How many of these device blocks nobody holds, so that they count as free until they are held."""
        return sum(not self.blocks.device.is_held(block) for block in on_device)

    def adopt(self, request: Request, on_device: list[int], on_host: list[int]) -> None:
        """Makes what `find_beginning` returned the request's own."""
        self.blocks.hold_found(on_device, on_host)
        request.block_ids, request.host_block_ids = list(on_device), list(on_host)
        request.num_indexed_blocks = len(on_device) + len(on_host)
        request.num_computed_tokens = request.num_indexed_blocks * self.blocks.block_size
        self._count_found(request)

    def fork(self, parent: Request, request: Request) -> None:
        """Lets a request without blocks share those of its parent that its prompt has filled; none if they are gone."""
        shared = self.blocks.fork(parent.block_ids, min(parent.num_computed_tokens, parent.num_prompt_tokens - 1))
        request.block_ids = shared
        request.num_computed_tokens = len(shared) * self.blocks.block_size
        self._count_found(request)

    def hand_over(self, kept: Request, request: Request, num_tokens: int) -> None:
        """Gives a request without blocks the full ones that an ended request has of their `num_tokens` common leading tokens."""
        size, on_device = self.blocks.block_size, len(kept.block_ids)
        num_common = min(num_tokens, kept.num_computed_tokens, len(request.token_ids) - 1) // size
        num_common = min(num_common, on_device + len(kept.host_block_ids))
        request.block_ids, kept.block_ids = kept.block_ids[:num_common], kept.block_ids[num_common:]
        num_host = max(0, num_common - on_device)
        request.host_block_ids, kept.host_block_ids = kept.host_block_ids[:num_host], kept.host_block_ids[num_host:]
        request.num_indexed_blocks = min(num_common, kept.num_indexed_blocks)
        request.block_digests = kept.block_digests[: request.num_indexed_blocks + 1]
        request.num_computed_tokens = num_common * size
        self._count_found(request)

    def rewrite_end(self, request: Request, token_ids: list[int]) -> None:
        """Replaces a request's last token by `token_ids`, and forgets what was computed and known of it."""
        last = len(request.token_ids) - 1
        request.token_ids[-1:] = token_ids
        request.num_computed_tokens = min(request.num_computed_tokens, last)
        num_full = last // self.blocks.block_size
        assert request.num_indexed_blocks <= num_full, "a block that others may share would be written again"
        del request.block_digests[num_full + 1 :]

    def swap_out(self, request: Request, count: int) -> int:
        """Moves up to `count` of a request's last device blocks to the host; how many it frees there.

        Blocks that others hold too stay: nothing would be gained. Blocks that may not have arrived stay too: a copy of junk would
        not be found out. The budget and the host's room bound the rest.
        """
        digests, moved = request.block_digests[: request.num_indexed_blocks + 1], 0
        unproven = self._unproven.keys() | {copy.device_block for copy in self._swap_ins}
        while moved < count and request.block_ids and self.blocks.host.num_free and self._budget.outs > 0:
            block = request.block_ids[-1]
            if self.blocks.device.is_shared(block) or block in unproven:
                break
            copy = self.blocks.swap_out(request.block_ids, request.host_block_ids, digests)
            if copy is not None:
                self._swap_outs.append(copy)
                self._budget.outs -= 1
                self.num_swapped_out_blocks += 1
            moved += 1
        return moved

    def can_swap_out(self, count: int) -> bool:
        """Whether the plan's budget and the host have room for `count` more blocks."""
        return count <= self._budget.outs and count <= self.blocks.host.num_free

    @property
    def num_swappable_blocks(self) -> int:
        """Blocks that the plan's budget and the host still let go out, if nothing more comes in."""
        return min(self._budget.outs + self._budget.ins, self.blocks.host.num_free)

    def is_arriving(self, request: Request) -> bool:
        """Whether this plan brings blocks of a request, which the next one can read."""
        mine = set(request.block_ids)
        return any(copy.device_block in mine for copy in self._swap_ins)

    def is_proven(self, request: Request) -> bool:
        """Whether all of a request's device blocks are known to hold what they should."""
        return not self._unproven or self._unproven.keys().isdisjoint(request.block_ids)

    def swap_in(self, request: Request) -> None:
        """Moves a request's first host blocks back to the device, as many as the budget and free blocks allow."""
        digests = request.block_digests[: request.num_indexed_blocks + 1]
        leaving = {copy.host_block for copy in self._swap_outs}
        while request.host_block_ids and self.blocks.num_free_blocks and self._budget.ins > 0:
            if request.host_block_ids[0] in leaving:
                break
            copy = self.blocks.swap_in(request.block_ids, request.host_block_ids, digests)
            if copy is not None:
                self._swap_ins.append(copy)
                self._budget.ins -= 1
                self.num_swapped_in_blocks += 1
                if len(request.block_ids) <= request.num_indexed_blocks:
                    self._arriving.append(_Arrival(request, request.generation, len(request.block_ids) - 1))

    # Failed copies.

    def forget_lost(self, blocks: Collection[int], host_blocks: Collection[int]) -> None:
        """Lets blocks whose copy failed not be found any more."""
        self.num_lost_blocks += len(blocks) + len(host_blocks)
        for block in blocks:
            self.blocks.device.forget(block)
        for block in host_blocks:
            self.blocks.host.forget(block)

    def cut_lost_host_blocks(self, request: Request, host_blocks: Collection[int]) -> None:
        """Lets a request go on without the host blocks that were lost, and without what it has behind them."""
        first = next(i for i, block in enumerate(request.host_block_ids) if block in host_blocks)
        kept = len(request.block_ids) + first
        for block in reversed(request.host_block_ids[first:]):
            self.blocks.host.release(block)
        del request.host_block_ids[first:]
        request.num_computed_tokens = min(request.num_computed_tokens, kept * self.blocks.block_size)
        request.num_indexed_blocks = min(request.num_indexed_blocks, kept)
        request.generation += 1

    def check(self, requests: Iterable[Request]) -> None:
        """Proves that the ledger and what requests say they hold agree.

        Raises:
            AssertionError: If they do not.
        """
        requests = list(requests)
        self.blocks.check(
            {request.request_id: request.block_ids for request in requests},
            {request.request_id: request.host_block_ids for request in requests},
        )
        for request in requests:
            num_blocks = len(request.block_ids) + len(request.host_block_ids)
            assert request.num_computed_tokens <= num_blocks * self.blocks.block_size
            assert request.num_indexed_blocks * self.blocks.block_size <= request.num_computed_tokens

    def _count_found(self, request: Request) -> None:
        request.num_found_tokens += request.num_computed_tokens
        self.num_found_tokens += request.num_computed_tokens
        if not request.num_tokens_once_computed:
            request.num_cached_prompt_tokens = min(request.num_computed_tokens, request.num_prompt_tokens)

    def _extend_digests(self, request: Request, num_blocks: int) -> None:
        digests, size = request.block_digests, self.blocks.block_size
        if not digests:
            digests.append(root_digest(request.cache_salt))
        for position in range(len(digests) - 1, num_blocks):
            digests.append(block_digest(digests[position], request.token_ids[position * size : (position + 1) * size]))

    def _index(self, request: Request, position: int) -> None:
        """Lets the block at `position` of a request's text be found wherever it is."""
        digest, parent = request.block_digests[position + 1], request.block_digests[position]
        on_host = position - len(request.block_ids)
        if on_host < 0:
            self.blocks.device.index(request.block_ids[position], digest, parent, position)
        else:
            self.blocks.host.index(request.host_block_ids[on_host], digest, parent, position)
