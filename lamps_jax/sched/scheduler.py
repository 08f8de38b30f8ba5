"""Plans each step: which requests compute which tokens on which blocks.

There is no prefill phase and no decode phase. Each request has tokens, and so many of them are computed; every step computes some
that are not. A request whose last token is still being sampled by a submitted step computes that one too: its value is on the
device. Plans are thus made one step ahead of what is known, and a request that turns out to have ended, or to have called a tool,
has at most one sample under way that nobody wants: it is dropped when it comes in.
"""

import heapq
import itertools
from bisect import insort

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan, StepResult
from lamps_jax.sched.policy import System, system_named
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState


class Scheduler:
    """Owns the requests and the block ids; deterministic: same calls, same plans.

    `now` is the time on the engine's clock, for systems that look at it; those there are so far do not.
    """

    def __init__(self, config: SchedulerConfig, blocks: BlockManager):
        if blocks.capacity_tokens < config.max_model_len:
            raise ValueError(
                f"the pool holds {blocks.capacity_tokens} tokens, one request up to {config.max_model_len} (max_model_len); "
                "raise the number of KV blocks or lower max_model_len"
            )
        self.config, self.blocks = config, blocks
        self.system: System = system_named(config.policy)
        self.num_preemptions = 0
        self._requests: dict[str, Request] = {}
        self._waiting: list[tuple[tuple[int, ...], int, Request]] = []  # a heap; entries of requests that left are skipped
        self._running: list[Request] = []  # in order of service
        self._paused: dict[str, Request] = {}
        self._free_slots = list(range(config.max_num_seqs))
        self._counter, self._step_ids = itertools.count(), itertools.count()

    @property
    def num_waiting(self) -> int:
        """Requests that wait to run or to resume."""
        return len(self._requests) - len(self._running) - len(self._paused)

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def num_in_api_call(self) -> int:
        """Requests whose tool runs."""
        return len(self._paused)

    def get(self, request_id: str) -> Request | None:
        """The unfinished request of that id."""
        return self._requests.get(request_id)

    def requests(self) -> list[Request]:
        """All unfinished requests, in order of arrival."""
        return list(self._requests.values())

    def add(self, request: Request) -> None:
        """Queues a new request.

        Raises:
            ValueError: If its prompt is empty or leaves no room for an answer, or its id is taken.
        """
        if request.request_id in self._requests:
            raise ValueError(f"request id {request.request_id!r} is in use")
        if not request.token_ids:
            raise ValueError("the prompt is empty; give at least one token")
        if len(request.token_ids) >= self.config.max_model_len:
            raise ValueError(
                f"the prompt has {len(request.token_ids)} tokens; with at least one to generate that exceeds the context of "
                f"{self.config.max_model_len}; shorten it"
            )
        request.order = next(self._counter)
        self._requests[request.request_id] = request
        self._enqueue(request)

    def schedule(self, now: float) -> StepPlan:
        """The next step; empty when nothing can run before a result, a tool or a new request comes in."""
        budget, prefills, decodes = self.config.token_budget, list[PrefillChunk](), list[Decode]()
        preemptions = self.num_preemptions
        for request in tuple(self._running):
            if request.state is not RequestState.RUNNING or budget == 0 or self._must_wait_for_sample(request):
                continue
            num_tokens = self._next_tokens(request, budget)
            if not self._reclaim(request, num_tokens):
                self._preempt(request)
                continue
            if num_tokens == 1 and request.num_tokens - request.num_computed_tokens == 1:
                decodes.append(self._decode(request))
            else:
                prefills.append(self._chunk(request, num_tokens))
            budget -= num_tokens
        if self.num_preemptions == preemptions:
            self._admit(budget, prefills)
        return StepPlan(next(self._step_ids), tuple(prefills), tuple(decodes))

    def update(self, result: StepResult, now: float) -> list[tuple[Request, int]]:
        """Takes in the samples of a step; returns those that count, with their requests."""
        accepted = []
        for request_id, token_id in result.sampled.items():
            request = self._requests.get(request_id)
            if request is None:
                continue
            if request.num_stale_samples:
                request.num_stale_samples -= 1
                continue
            request.num_pending_samples -= 1
            request.num_sampled_tokens += 1
            request.token_ids.append(token_id)
            accepted.append((request, token_id))
        return accepted

    def api_called(self, request_id: str, now: float) -> Handling:
        """Takes a request out of the batch while its tool runs; returns what became of its blocks."""
        request = self._requests[request_id]
        if request.state is RequestState.RUNNING:  # else it was preempted while the sample that ends the call was under way
            self._leave_batch(request)
        request.state = RequestState.IN_API_CALL
        self._paused[request_id] = request
        request.handling = self.system.handling(request)
        if request.handling is Handling.DISCARD:
            self._discard(request)
        return request.handling

    def api_returned(self, request_id: str, token_ids: list[int], now: float) -> None:
        """Appends the tokens of a call's result, cut to what the context holds, and queues the request again."""
        if not token_ids:
            raise ValueError("a call's result has at least one token")
        request = self._requests[request_id]
        if (room := self.room_tokens(request)) <= 0:
            raise ValueError(f"request {request_id!r} has no room for a result; finish it instead")
        del self._paused[request_id]
        request.token_ids.extend(token_ids[:room])
        self._enqueue(request)

    def room_tokens(self, request: Request) -> int:
        """Tokens that can be appended to a request with one more left to generate."""
        return self.config.max_model_len - 1 - len(request.token_ids)

    def replace_last_token(self, request_id: str, token_ids: list[int]) -> None:
        """Rewrites the last token of a request in an API call, which had run on past the end of its call."""
        request = self._paused[request_id]
        request.token_ids[-1:] = token_ids
        request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids) - len(token_ids))

    def finish(self, request_id: str, reason: FinishReason, now: float) -> None:
        """Ends a request in whatever state it is, and frees what it holds."""
        request = self._requests.pop(request_id)
        if request.state is RequestState.RUNNING:
            self._leave_batch(request)
        self._paused.pop(request_id, None)
        self.blocks.free(request.block_ids)
        request.state, request.finish_reason = RequestState.FINISHED, reason

    def abort(self, request_id: str) -> bool:
        """Ends a request at somebody's wish; False if there is no such request (any more)."""
        if request_id not in self._requests:
            return False
        self.finish(request_id, FinishReason.ABORT, 0.0)
        return True

    def check(self) -> None:
        """Proves that blocks, slots and lists agree with each other.

        Raises:
            AssertionError: If they do not.
        """
        self.blocks.check({request.request_id: request.block_ids for request in self._requests.values()})
        slots = [request.slot for request in self._running if request.slot is not None]
        assert sorted([*self._free_slots, *slots]) == list(range(self.config.max_num_seqs)), "slots lost or used twice"
        for request in self._requests.values():
            assert (request.slot is not None) == (request.state is RequestState.RUNNING)
            assert request.num_computed_tokens <= len(request.block_ids) * self.blocks.block_size
            assert request.num_computed_tokens <= request.num_tokens
        assert self.num_waiting >= 0

    # What follows is the inside of `schedule`.

    def _must_wait_for_sample(self, request: Request) -> bool:
        """Whether the request ends with its pending sample, for want of tokens or of context."""
        return request.num_pending_samples > 0 and (
            request.max_tokens_left <= 0 or request.num_tokens >= self.config.max_model_len
        )

    def _next_tokens(self, request: Request, budget: int) -> int:
        return min(request.num_tokens - request.num_computed_tokens, self.config.max_chunk_tokens, budget)

    def _admit(self, budget: int, prefills: list[PrefillChunk]) -> None:
        while budget and self._free_slots and (request := self._first_waiting()) is not None:
            if request.num_pending_samples:  # preempted with a sample under way; its value is known by the next plan
                return
            missing = self.blocks.num_missing_blocks(request.block_ids, len(request.token_ids))
            while not self.system.admits(request, missing, self.blocks.num_free_blocks):
                # An idle device does not wait for memory that only paused requests hold, or ones that wait behind this one.
                if self._running or not (self._discard_one_paused() or self._take_from_one_behind(request)):
                    return
            heapq.heappop(self._waiting)
            request.state, request.slot = RequestState.RUNNING, heapq.heappop(self._free_slots)
            insort(self._running, request, key=self.system.order_key)
            num_tokens = self._next_tokens(request, budget)
            needed = self.blocks.num_missing_blocks(request.block_ids, request.num_computed_tokens + num_tokens)
            self.blocks.extend(request.request_id, request.block_ids, needed)
            prefills.append(self._chunk(request, num_tokens))
            budget -= num_tokens

    def _chunk(self, request: Request, num_tokens: int) -> PrefillChunk:
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
            ban_eos=self._eos_is_banned(request),
        )
        self._computes(request, end, chunk.sample)
        return chunk

    def _decode(self, request: Request) -> Decode:
        assert request.slot is not None
        decode = Decode(
            request_id=request.request_id,
            slot=request.slot,
            token_id=None if request.num_pending_samples else request.token_ids[-1],
            position=request.num_computed_tokens,
            block_ids=request.block_ids,
            ban_eos=self._eos_is_banned(request),
        )
        self._computes(request, request.num_computed_tokens + 1, True)
        return decode

    def _eos_is_banned(self, request: Request) -> bool:
        return request.num_sampled_tokens + request.num_pending_samples < request.sampling.min_tokens

    def _computes(self, request: Request, end: int, samples: bool) -> None:
        """Notes that the tokens up to `end` will be computed."""
        start = request.num_computed_tokens
        request.num_recomputed_tokens += max(0, min(end, request.num_tokens_once_computed) - start)
        request.num_tokens_once_computed = max(end, request.num_tokens_once_computed)
        request.num_computed_tokens = end
        request.num_pending_samples += samples

    def _reclaim(self, request: Request, num_tokens: int) -> bool:
        """Gives the request blocks for its next tokens, taking them from others if need be; False if even that is not enough."""
        missing = self.blocks.num_missing_blocks(request.block_ids, request.num_computed_tokens + num_tokens)
        while missing > self.blocks.num_free_blocks:
            if not (self._discard_one_paused() or self._take_from_one_behind(request)):
                return False
        self.blocks.extend(request.request_id, request.block_ids, missing)
        return True

    def _discard_one_paused(self) -> bool:
        """Frees the blocks of the youngest request in an API call that holds any."""
        for request in reversed(self._paused.values()):
            if request.block_ids:
                request.handling = Handling.DISCARD
                self._discard(request)
                return True
        return False

    def _take_from_one_behind(self, request: Request) -> bool:
        """Frees the blocks of the request that is served last, if it is served after `request`."""
        key = self.system.order_key
        holders = [other for other in self._requests.values() if other.block_ids and key(other) > key(request)]
        if not holders:
            return False
        last = max(holders, key=key)
        if last.state is RequestState.RUNNING:
            self._preempt(last)
        else:
            self._discard(last)
        return True

    def _preempt(self, request: Request) -> None:
        """Sends a running request back to the queue without its blocks."""
        self._leave_batch(request, keep_pending=True)
        self._discard(request)
        request.num_preemptions += 1
        self.num_preemptions += 1
        self._enqueue(request, again=False)

    def _discard(self, request: Request) -> None:
        self.blocks.free(request.block_ids)
        request.num_computed_tokens = 0

    def _leave_batch(self, request: Request, *, keep_pending: bool = False) -> None:
        assert request.slot is not None
        self._running.remove(request)
        heapq.heappush(self._free_slots, request.slot)
        request.slot = None
        if not keep_pending:
            request.num_stale_samples += request.num_pending_samples
            request.num_pending_samples = 0
            request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids))

    def _enqueue(self, request: Request, *, again: bool = True) -> None:
        request.state = RequestState.WAITING
        if again:
            request.queued_order = next(self._counter)
        request.queue_ticket = next(self._counter)
        heapq.heappush(self._waiting, (self.system.order_key(request), request.queue_ticket, request))

    def _first_waiting(self) -> Request | None:
        while self._waiting:
            _, ticket, request = self._waiting[0]
            if request.state is RequestState.WAITING and request.queue_ticket == ticket:
                return request
            heapq.heappop(self._waiting)
        return None
