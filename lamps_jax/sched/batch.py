"""The requests that run: their rows on the device, and what a step computes of them."""

import heapq
from bisect import insort
from operator import attrgetter

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.plan import Decode, PrefillChunk
from lamps_jax.sched.request import Request, RequestState

by_rank = attrgetter("rank")


class Batch:
    """Running requests and the slots that they have.

    Attributes:
        running: In order of service.
        num_recomputed_tokens: Tokens that were computed before, and again since.
    """

    def __init__(self, config: SchedulerConfig):
        self.running: list[Request] = []
        self.num_recomputed_tokens = 0
        self._config = config
        self._free_slots = list(range(config.max_num_seqs))

    @property
    def is_full(self) -> bool:
        """Whether no slot is left."""
        return not self._free_slots

    @property
    def num_context_tokens(self) -> int:
        """Computed tokens of all that run."""
        return sum(request.num_computed_tokens for request in self.running)

    def join(self, request: Request) -> None:
        """Lets a request run."""
        request.state, request.slot = RequestState.RUNNING, heapq.heappop(self._free_slots)
        insort(self.running, request, key=by_rank)

    def leave(self, request: Request, *, keep_pending: bool = False) -> None:
        """Takes a request out; samples of it that are under way are dropped when they come in, unless kept."""
        assert request.slot is not None
        self.running.remove(request)
        heapq.heappush(self._free_slots, request.slot)
        request.slot = None
        if not keep_pending:
            request.num_stale_samples += request.num_pending_samples
            request.num_pending_samples = 0
            request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids))

    def next_tokens(self, request: Request, budget: int) -> int:
        """How many of a request's tokens the next step can compute."""
        return min(request.num_tokens - request.num_computed_tokens, self._config.max_chunk_tokens, budget)

    def chunk(self, request: Request, num_tokens: int) -> PrefillChunk:
        """A chunk of a request's known tokens, which has blocks for them."""
        assert request.slot is not None
        start, end = request.num_computed_tokens, request.num_computed_tokens + num_tokens
        chunk = PrefillChunk(
            request_id=request.request_id,
            slot=request.slot,
            token_ids=request.token_ids[start:end],
            start=start,
            block_ids=request.block_ids,
            sampling=request.sampling,
            sample=end == len(request.token_ids),
            ban_eos=_eos_is_banned(request),
        )
        self._note_computed(request, end)
        request.num_pending_samples += chunk.sample
        return chunk

    def decode(self, request: Request) -> Decode:
        """The next token of a request, which has a block for it."""
        pending, start, least = request.num_pending_samples, request.num_computed_tokens, request.sampling.min_tokens
        decode = Decode(
            request.request_id,
            request.slot,  # pyright: ignore[reportArgumentType]  # it runs
            None if pending else request.token_ids[-1],
            start,
            request.block_ids,
            least > 0 and request.num_sampled_tokens + pending < least,
        )
        if start < request.num_tokens_once_computed:
            self._note_computed(request, start + 1)
        else:
            request.num_tokens_once_computed = request.num_computed_tokens = start + 1
        request.num_pending_samples = pending + 1
        return decode

    def check(self) -> None:
        """Proves that no slot is lost or used twice.

        Raises:
            AssertionError: If one is.
        """
        slots = [request.slot for request in self.running if request.slot is not None]
        assert sorted([*self._free_slots, *slots]) == list(range(self._config.max_num_seqs)), "slots lost or used twice"
        assert self.running == sorted(self.running, key=by_rank), "running requests are out of order"

    def _note_computed(self, request: Request, end: int) -> None:
        """Notes that the tokens up to `end` will be computed."""
        start = request.num_computed_tokens
        again = max(0, min(end, request.num_tokens_once_computed) - start)
        request.num_recomputed_tokens += again
        self.num_recomputed_tokens += again
        request.num_tokens_once_computed = max(end, request.num_tokens_once_computed)
        request.num_computed_tokens = end


def _eos_is_banned(request: Request) -> bool:
    return request.num_sampled_tokens + request.num_pending_samples < request.sampling.min_tokens
