"""Who gives up blocks when another request wants them."""

from collections.abc import Callable, Collection

from lamps_jax.sched.batch import Batch, by_rank
from lamps_jax.sched.client_calls import ClientCalls
from lamps_jax.sched.memory import Memory
from lamps_jax.sched.paused import PausedRequests
from lamps_jax.sched.policy import System
from lamps_jax.sched.request import Handling, Request, RequestState


class GivingWay:
    """Takes blocks from requests that are paused, and then from those that come after the one that wants them.

    Args:
        preempt: Sends a running request back to the queue, with so many of its blocks less.

    Attributes:
        holding: Requests that wait and may hold blocks, by id; those that do not any more are skipped.
    """

    def __init__(
        self,
        system: System,
        memory: Memory,
        batch: Batch,
        paused: PausedRequests,
        client_calls: ClientCalls,
        preempt: Callable[[Request, int], None],
    ):
        self.holding: dict[str, Request] = {}
        self._system, self._memory, self._batch = system, memory, batch
        self._paused, self._client_calls, self._preempt = paused, client_calls, preempt

    def reclaim(self, request: Request, num_tokens: int) -> bool:
        """Gives a running request blocks for its next tokens, from others if need be; False if even that is not enough."""
        end = request.num_computed_tokens + num_tokens
        while (lacking := self._memory.num_missing_blocks(request, end) - self._memory.blocks.num_free_blocks) > 0:
            if not self.make_room(request, lacking):
                return False
        self._memory.extend(request, end)
        return True

    def make_room(self, request: Request, num_blocks: int) -> bool:
        """Makes one request give up blocks, of which `num_blocks` are wanted; False if none is left that would."""
        paused = [other for other in self._paused.by_id.values() if other.block_ids]
        if paused:
            self._take_from_paused(paused, num_blocks)
            return True
        self.holding = {name: other for name, other in self.holding.items() if other.block_ids or other.host_block_ids}
        behind = [other for other in self.holding.values() if other.block_ids and other.rank > request.rank]
        behind += [other for other in self._batch.running if other.block_ids and other.rank > request.rank]
        if not behind:
            return False
        victim = max(behind, key=by_rank)
        if victim.state is RequestState.RUNNING:
            self._preempt(victim, num_blocks)
        else:
            self.give_way(victim, num_blocks)
        return True

    def take_from_late_clients(self, num_blocks: int, now: float) -> bool:
        """Takes blocks from a request kept for a client who should be back, or of whom nothing is known; False without one."""
        if num_blocks <= 0 or not len(self._client_calls):
            return False
        late = [
            request
            for request in self._client_calls.kept()
            if request.block_ids and (request.expected_return_s is None or now >= request.expected_return_s)
        ]
        if late:
            self._take_from_paused(late, num_blocks)
        return bool(late)

    def give_way(self, request: Request, num_blocks: int) -> None:
        """Takes blocks from a request that holds some: no more than wanted if they can go to the host, and all otherwise."""
        num_blocks = min(num_blocks, len(request.block_ids))
        swaps = self._system.gives_way is Handling.SWAP and self._memory.can_swap_out(num_blocks)
        if not swaps or not self._memory.swap_out(request, num_blocks):
            self._memory.discard(request, will_return=True)

    def _take_from_paused(self, paused: Collection[Request], num_blocks: int) -> None:
        """Takes blocks from the one of several paused requests that is to give way first."""
        victim = max(paused, key=self._system.victim_key)
        self.give_way(victim, num_blocks)
        if not victim.block_ids:
            victim.handling = Handling.SWAP if victim.host_block_ids else Handling.DISCARD
