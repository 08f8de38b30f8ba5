"""Plans each step: which requests compute which tokens on which blocks.

There is no prefill phase and no decode phase. Each request has tokens, and so many of them are computed; every step computes some
that are not. A request whose last token is still being sampled by a submitted step computes that one too: its value is on the
device. Plans are thus made one step ahead of what is known, and a request that turns out to have ended, or to have called a tool,
has at most one sample under way that nobody wants: it is dropped when it comes in.

A request whose blocks are on the host, or are found there, is *loading* from its turn in the queue until they are back.
"""

import heapq
import itertools
from bisect import insort

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import Predictor
from lamps_jax.sched.memory import Memory
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan, StepResult
from lamps_jax.sched.policy import System, system_named
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState
from lamps_jax.sched.swapper import Swapper


class Scheduler:
    """Owns the requests and the block ids; deterministic: same calls, same plans.

    `now` is the time on the engine's clock.

    Args:
        cost_model: What steps and swaps cost on this machine; without it swaps are not budgeted.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        blocks: BlockManager,
        cost_model: CostModel | None = None,
        predictor: Predictor | None = None,
    ):
        if blocks.capacity_tokens < config.max_model_len:
            raise ValueError(
                f"the pool holds {blocks.capacity_tokens} tokens, one request up to {config.max_model_len} (max_model_len); "
                "raise the number of KV blocks or lower max_model_len"
            )
        self.config, self.blocks, self.cost_model, self.predictor = config, blocks, cost_model, predictor
        self.system: System = system_named(config.policy)
        self.memory = Memory(blocks, config, cost_model)
        self.num_preemptions = 0
        self._planned_s = float("-inf")
        self._requests: dict[str, Request] = {}
        self._waiting: list[tuple[tuple[int, ...], int, Request]] = []  # a heap; entries of requests that left are skipped
        self._running: list[Request] = []  # in order of service
        self._paused: dict[str, Request] = {}
        self._swapper = Swapper(self.memory, self.system, config, cost_model, self._paused)
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

    def add(self, request: Request, *, fork_of: str | None = None) -> None:
        """Queues a new request.

        Args:
            fork_of: A request with the same prompt, of which this is a further answer: the prompt is computed once.

        Raises:
            ValueError: If its prompt is empty, leaves no room for an answer or is not that of `fork_of`, or its id is taken.
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
        parent = None if fork_of is None else self._requests.get(fork_of)
        if parent is not None and parent.token_ids[: parent.num_prompt_tokens] != request.token_ids:
            raise ValueError(f"request {request.request_id!r} is no fork of {fork_of!r}: their prompts differ")
        request.parent, request.order = parent, next(self._counter)
        self._requests[request.request_id] = request
        self._enqueue(request)

    def schedule(self, now: float) -> StepPlan:
        """The next step; empty when nothing can run before a result, a tool or a new request comes in."""
        self.memory.begin_plan(now, *self._expected_load())
        self._planned_s = now
        self._swapper.limit_preserving(now)
        budget, prefills, decodes = self.config.token_budget, list[PrefillChunk](), list[Decode]()
        preemptions = self.num_preemptions
        for request in tuple(self._running):
            if request.state is not RequestState.RUNNING or budget == 0 or self._must_wait_for_sample(request):
                continue
            uncomputed = request.num_tokens - request.num_computed_tokens
            num_tokens = min(uncomputed, self.config.max_chunk_tokens, budget)
            if not self._reclaim(request, num_tokens):
                self._preempt(request)
                continue
            if uncomputed == 1:
                decodes.append(self._decode(request))
            else:
                prefills.append(self._chunk(request, num_tokens))
            budget -= num_tokens
        self._swapper.load(None if self._running else self._make_room)
        for request in self._swapper.take_loaded():
            self._enqueue(request, again=False)
        if self.num_preemptions == preemptions:
            self._admit(budget, prefills)
        self._swapper.prefetch(now)
        self._swapper.swap_out_paused(now)
        return self._plan(prefills, decodes)

    def update(self, result: StepResult, now: float) -> list[tuple[Request, int]]:
        """Takes in what came of a step; returns the samples that count, with their requests."""
        if result.lost_blocks or result.lost_host_blocks:
            self._take_loss(result)
        self.memory.confirm_computed(result.step_id)
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

    def api_called(self, request_id: str, now: float, expected_duration_s: float | None = None) -> Handling:
        """Takes a request out of the batch while its tool runs; returns what becomes of its blocks.

        Args:
            expected_duration_s: How long the call is expected to take; None if nothing is known of it.
        """
        request = self._requests[request_id]
        if request.state is RequestState.RUNNING:  # else it was preempted while the sample that ends the call was under way
            self._leave_batch(request)
        self._swapper.stop_loading(request)
        request.state, request.paused_s = RequestState.IN_API_CALL, now
        request.expected_return_s = None if expected_duration_s is None else now + expected_duration_s
        self._paused[request_id] = request
        request.handling = self.system.handling(request)
        if request.handling is Handling.DISCARD:
            self.memory.discard(request, will_return=True)
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

    def next_wake_s(self) -> float | None:
        """When `schedule` will have something to do even if nothing happens before; None if only events bring that about."""
        return self._swapper.next_wake_s(self._planned_s)

    def room_tokens(self, request: Request) -> int:
        """Tokens that can be appended to a request with one more left to generate."""
        return self.config.max_model_len - 1 - len(request.token_ids)

    def replace_last_token(self, request_id: str, token_ids: list[int]) -> None:
        """Rewrites the last token of a request in an API call, which had run on past the end of its call."""
        self.memory.rewrite_end(self._paused[request_id], token_ids)

    def finish(self, request_id: str, reason: FinishReason, now: float) -> None:
        """Ends a request in whatever state it is, and frees what it holds."""
        request = self._requests.pop(request_id)
        if request.state is RequestState.RUNNING:
            self._leave_batch(request)
        self._paused.pop(request_id, None)
        self._swapper.stop_loading(request)
        self.memory.discard(request)
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
        self.memory.check(self._requests.values())
        slots = [request.slot for request in self._running if request.slot is not None]
        assert sorted([*self._free_slots, *slots]) == list(range(self.config.max_num_seqs)), "slots lost or used twice"
        for request in self._requests.values():
            assert (request.slot is not None) == (request.state is RequestState.RUNNING)
            assert request.num_computed_tokens <= request.num_tokens
            assert request.state is not RequestState.RUNNING or not request.host_block_ids
        assert all(request.state is RequestState.WAITING for request in self._swapper.loading)
        assert self.num_waiting >= 0

    # What follows is the inside of `schedule`: first the batch.

    def _plan(self, prefills: list[PrefillChunk], decodes: list[Decode]) -> StepPlan:
        swap_outs, swap_ins = self.memory.copies()
        plan = StepPlan(next(self._step_ids), tuple(prefills), tuple(decodes), swap_outs, swap_ins)
        if plan:
            self.memory.note_computed(plan.step_id, [self._requests[row.request_id] for row in (*prefills, *decodes)])
        return plan

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
            if (parent := request.parent) is not None:
                if self._is_coming(parent, prefills):
                    return
                self.memory.fork(parent, request)
                request.parent = None
            if not self._has_room(request):
                return
            heapq.heappop(self._waiting)
            if request.host_block_ids and not self._swapper.begin_loading(request):
                continue
            request.state, request.slot = RequestState.RUNNING, heapq.heappop(self._free_slots)
            insort(self._running, request, key=self.system.order_key)
            num_tokens = self._next_tokens(request, budget)
            self.memory.extend(request, request.num_computed_tokens + num_tokens)
            prefills.append(self._chunk(request, num_tokens))
            budget -= num_tokens

    def _is_coming(self, parent: Request, prefills: list[PrefillChunk]) -> bool:
        """Whether the prompt of a request that others wait to share is being computed, or brought back, by this plan or later."""
        if self.memory.is_arriving(parent):
            return True
        mine = [chunk for chunk in prefills if chunk.request_id == parent.request_id and chunk.start < parent.num_prompt_tokens]
        return bool(mine) or (parent.slot is not None and parent.num_computed_tokens < parent.num_prompt_tokens)

    def _has_room(self, request: Request) -> bool:
        """Whether a waiting request is admitted; if so, what is found of its beginning is its own."""
        found = ([], []) if request.block_ids or request.host_block_ids else self.memory.find_beginning(request)
        key = self.system.order_key
        ahead = [other for other in self._swapper.loading if key(other) < key(request)]
        promised = sum(len(other.host_block_ids) for other in ahead)
        while True:
            held = len(request.block_ids) + len(found[0])
            missing = self.blocks.num_missing_blocks(held, len(request.token_ids))
            free = self.blocks.num_free_blocks - self.memory.num_cached(found[0]) - promised
            if self.system.admits(request, missing, free):
                break
            # An idle device does not wait for memory that only paused requests hold, or ones that wait behind this one.
            if self._running or ahead or not self._make_room(request, missing - free):
                return False
            if found != ([], []):
                found = self.memory.find_beginning(request)  # what gave way may have been what was found
        if found != ([], []):
            self.memory.adopt(request, *found)
        return True

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
            request.request_id,
            request.slot,
            None if request.num_pending_samples else request.token_ids[-1],
            request.num_computed_tokens,
            request.block_ids,
            self._eos_is_banned(request),
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

    # Then memory: who gives way.

    def _expected_load(self) -> tuple[int, int]:
        """Tokens that the step will compute, about, and the sum of the contexts that they attend to."""
        if self.cost_model is None:
            return 0, 0
        contexts = sum(request.num_computed_tokens for request in self._running)
        computing = any(request.num_tokens - request.num_computed_tokens > 1 for request in self._running)
        full = computing or self._first_waiting() is not None or not self._running
        return (self.config.token_budget if full else len(self._running)), contexts

    def _reclaim(self, request: Request, num_tokens: int) -> bool:
        """Gives the request blocks for its next tokens, taking them from others if need be; False if even that is not enough."""
        end = request.num_computed_tokens + num_tokens
        if end <= len(request.block_ids) * self.blocks.block_size:
            return True
        while (lacking := self.memory.num_missing_blocks(request, end) - self.blocks.num_free_blocks) > 0:
            if not self._make_room(request, lacking):
                return False
        self.memory.extend(request, end)
        return True

    def _make_room(self, request: Request, num_blocks: int) -> bool:
        """Makes one request give up blocks, of which `num_blocks` are wanted; False if none is left that would."""
        paused = [other for other in self._paused.values() if other.block_ids]
        if paused:
            victim = max(paused, key=self.system.victim_key)
            self._give_way(victim, num_blocks)
            if not victim.block_ids:
                victim.handling = Handling.SWAP if victim.host_block_ids else Handling.DISCARD
            return True
        key = self.system.order_key
        behind = [other for other in self._requests.values() if other.block_ids and key(other) > key(request)]
        if not behind:
            return False
        victim = max(behind, key=key)
        if victim.state is RequestState.RUNNING:
            self._preempt(victim, num_blocks)
        else:
            self._give_way(victim, num_blocks)
        return True

    def _give_way(self, request: Request, num_blocks: int) -> None:
        """Takes blocks from a request that holds some: no more than wanted if they can go to the host, and all otherwise."""
        num_blocks = min(num_blocks, len(request.block_ids))
        swaps = self.system.gives_way(request) is Handling.SWAP and self.memory.can_swap_out(num_blocks)
        if not swaps or not self.memory.swap_out(request, num_blocks):
            self.memory.discard(request, will_return=True)

    def _preempt(self, request: Request, num_blocks: int | None = None) -> None:
        """Sends a running request back to the queue, with `num_blocks` of its blocks less, or without any.

        It keeps a sample that is under way, unless that may have been drawn from junk: then the token is computed again.
        """
        proven = self.memory.is_proven(request)
        self._leave_batch(request, keep_pending=proven)
        if not proven:
            request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids) - 1)
        self._give_way(request, num_blocks or len(request.block_ids))
        request.num_preemptions += 1
        self.num_preemptions += 1
        self._enqueue(request, again=False)

    def _leave_batch(self, request: Request, *, keep_pending: bool = False) -> None:
        assert request.slot is not None
        self._running.remove(request)
        heapq.heappush(self._free_slots, request.slot)
        request.slot = None
        if not keep_pending:
            request.num_stale_samples += request.num_pending_samples
            request.num_pending_samples = 0
            request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids))

    def _take_loss(self, result: StepResult) -> None:
        """Sends back requests whose blocks did not survive a copy: what they lost, and computed from it, is computed again."""
        for request in self._requests.values():
            if not result.lost_blocks.isdisjoint(request.block_ids):
                if request.state is RequestState.RUNNING:
                    self._leave_batch(request)
                    self._enqueue(request, again=False)
                self.memory.discard(request)
            elif not result.lost_host_blocks.isdisjoint(request.host_block_ids):
                self.memory.cut_lost_host_blocks(request, result.lost_host_blocks)
        self.memory.forget_lost(result.lost_blocks, result.lost_host_blocks)

    # Then the queue.

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
