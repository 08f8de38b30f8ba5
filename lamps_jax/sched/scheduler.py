"""Plans each step: which requests compute which tokens on which blocks.

There is no prefill phase and no decode phase. Each request has tokens, and so many of them are computed; every step computes some
that are not. A request whose last token is still being sampled by a submitted step computes that one too: its value is on the
device. Plans are thus made one step ahead of what is known, and a request that turns out to have ended, or to have called a tool,
has at most one sample under way that nobody wants: it is dropped when it comes in.

A request whose blocks are on the host, or are found there, is *loading* from its turn in the queue until they are back.
"""

import itertools
from collections.abc import Collection, Sequence

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.admission import Room
from lamps_jax.sched.batch import Batch, by_rank
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.call_history import CallHistory
from lamps_jax.sched.client_calls import ClientCall, ClientCalls
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import HistoryPredictor, Predictor
from lamps_jax.sched.forecast import RESUMES, Forecaster
from lamps_jax.sched.giving_way import GivingWay
from lamps_jax.sched.handling import Decides
from lamps_jax.sched.memory import Memory
from lamps_jax.sched.paused import PausedRequests
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan, StepResult
from lamps_jax.sched.policy import System, system_of
from lamps_jax.sched.program_limit import ProgramLimit
from lamps_jax.sched.programs import Programs
from lamps_jax.sched.request import FinishReason, Handling, ProgramEnd, Request, RequestState
from lamps_jax.sched.surroundings import Surroundings, crowd_of
from lamps_jax.sched.swapper import Swapper
from lamps_jax.sched.waiting_queue import WaitingQueue

TOKENS_ALONE = CostModel(0.0, 1.0, 0.0, 0.0, 0.0)
"""What rules weigh where nothing was measured: a token costs as much as any other."""


class Scheduler:
    """Owns the requests and the block ids; deterministic: same calls, same plans.

    `now` is the time on the engine's clock.

    Args:
        cost_model: What steps and swaps cost on this machine; without it swaps are not budgeted.
        predictor: Asked what requests will do, by systems that want to know; None learns it from those that have been served.
        call_history: What is known of how long calls take; None begins with nothing.

    Attributes:
        call_history: How long calls took: tools as the engine has seen it, clients as the scheduler has.
        predictor: Learns from every request, whether the system asks it or not.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        blocks: BlockManager,
        cost_model: CostModel | None = None,
        predictor: Predictor | None = None,
        call_history: CallHistory | None = None,
    ):
        if blocks.capacity_tokens < config.max_model_len:
            raise ValueError(
                f"the pool holds {blocks.capacity_tokens} tokens, one request up to {config.max_model_len} (max_model_len); "
                "raise the number of KV blocks or lower max_model_len"
            )
        self.config, self.blocks, self.cost_model = config, blocks, cost_model
        self.system: System = system_of(config)
        self.call_history = call_history or CallHistory()
        self.predictor: Predictor = predictor or HistoryPredictor()
        self.memory = Memory(blocks, config, cost_model, prefix_cache=self.system.prefix_cache)
        self.num_preemptions = self.num_steps = 0
        self._planned_s = float("-inf")
        self._requests: dict[str, Request] = {}
        self._batch = Batch(config)
        self._forecaster = Forecaster(self.system, config, self.predictor, self.call_history)
        self._paused = PausedRequests(self.system, config, self.memory, self._forecaster)
        self._swapper = Swapper(self.memory, self.system, config, cost_model, self._paused)
        threshold = config.starvation_threshold if self.system.guards else 0
        self._queue = WaitingQueue(starvation_threshold=threshold, started_only=self.system.starvation_scope == "started")
        self._program_limit = ProgramLimit(config.max_num_seqs) if config.program_limit else None
        self._under_way = set[str]()  # requests that have begun
        self._programs = Programs()
        self._client_calls = ClientCalls(self.call_history, block_size=blocks.block_size, limit_s=config.client_keep_s)
        self._giving_way = GivingWay(self.system, self.memory, self._batch, self._paused, self._client_calls, self._preempt)
        self._around: Surroundings | None = None  # of the plan being made, once somebody has asked
        self._counter, self._step_ids = itertools.count(), itertools.count()

    @property
    def num_waiting(self) -> int:
        """Requests that wait to run or to resume."""
        return len(self._requests) - len(self._batch.running) - len(self._paused.by_id)

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        return len(self._batch.running)

    @property
    def num_in_api_call(self) -> int:
        """Requests whose tool runs."""
        return len(self._paused.by_id)

    @property
    def num_kept(self) -> int:
        """Requests among these whose reply has ended, and whose client is to come back with the results of its calls."""
        return len(self._client_calls)

    @property
    def num_recomputed_tokens(self) -> int:
        """Tokens that were computed before, and again since, so far."""
        return self._batch.num_recomputed_tokens

    @property
    def num_promoted(self) -> int:
        """Requests that have starved and were let go first, so far."""
        return self._queue.num_promoted

    def get(self, request_id: str) -> Request | None:
        """The unfinished request of that id."""
        return self._requests.get(request_id)

    def requests(self) -> list[Request]:
        """All unfinished requests, in order of arrival."""
        return list(self._requests.values())

    def paused(self) -> Collection[Request]:
        """Requests whose tool runs, in the order of their calls."""
        return self._paused.by_id.values()

    def add(self, request: Request, *, fork_of: str | None = None, answered_calls: Sequence[str] = ()) -> None:
        """Queues a new request; its clock starts at `request.arrival_s`.

        Args:
            fork_of: A request with the same prompt, of which this is a further answer: the prompt is computed once.
            answered_calls: Ids of the calls whose results it brings.

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
        request.program = self._programs.join(request.program_id, request.order)
        self._forecaster.client_returned(request)
        self._requests[request.request_id] = request
        if parent is None and (kept := self._client_calls.answered_by(request, answered_calls)):
            self._take_over(request, *kept)
        self._forecaster.predict(request, self._surroundings(request.arrival_s))
        self._enqueue(request, request.arrival_s)

    def schedule(self, now: float) -> StepPlan:
        """The next step; empty when nothing can run before a result, a tool or a new request comes in."""
        load = self._load()
        self.memory.begin_plan(now, self._expected_tokens(load[0]), load[1])
        self._planned_s, self._around = now, self._surroundings_of(now, *load)
        for request in self._client_calls.overdue(now):
            self._release(request)
        self._swapper.limit_preserving(now)
        self._rank_anew(now)
        budget, prefills, decodes = self.config.token_budget, list[PrefillChunk](), list[Decode]()
        preemptions, batch, size = self.num_preemptions, self._batch, self.blocks.block_size
        max_model_len = self.config.max_model_len
        for request in tuple(batch.running):
            if request.state is not RequestState.RUNNING or budget == 0:
                continue
            pending, start = request.num_pending_samples, request.num_computed_tokens
            num_known = len(request.token_ids) + pending
            if pending and (request.num_sampled_tokens + pending >= request.max_sampled_tokens or num_known >= max_model_len):
                continue  # it ends with its pending sample, for want of tokens or of context
            uncomputed = num_known - start
            num_tokens = 1 if uncomputed == 1 else batch.next_tokens(request, budget)
            if start + num_tokens > len(request.block_ids) * size and not self._giving_way.reclaim(request, num_tokens):
                self._preempt(request)
                continue
            if uncomputed == 1:
                decodes.append(batch.decode(request))
            else:
                prefills.append(batch.chunk(request, num_tokens))
            budget -= num_tokens
        self._swapper.load(None if batch.running else self._giving_way.make_room)
        for request in self._swapper.take_loaded():
            self._requeue(request, now)
        if self.num_preemptions == preemptions:
            self._admit(budget, prefills)
        is_wanted = self.system.decides is Decides.ON_DEMAND and self._queue.first() is not None
        self._swapper.prefetch(now, memory_is_wanted=is_wanted)
        if self._paused.chooses_in_steps and self._paused.by_id:
            self._paused.choose_anew(self._surroundings(now), memory_is_wanted=is_wanted)
        self._swapper.swap_out_paused(now)
        return self._plan(prefills, decodes)

    def update(self, result: StepResult, now: float) -> list[tuple[Request, int]]:
        """Takes in what came of a step; returns the samples that count, with their requests."""
        if result.lost_blocks or result.lost_host_blocks:
            self._take_loss(result, now)
        self.memory.confirm_computed(result.step_id)
        accepted, requests = [], self._requests
        for request_id, token_id in result.sampled.items():
            request = requests.get(request_id)
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

    def api_called(self, request_id: str, now: float, expected_duration_s: float | None = None, *, tool: str = "") -> Handling:
        """Takes a request out of the batch while its tool runs; returns what becomes of its blocks.

        Args:
            expected_duration_s: How long the call is expected to take; None takes what was predicted of the request, if anything.
            tool: Calls of one name are alike.
        """
        request = self._requests[request_id]
        if request.state is RequestState.RUNNING:  # else it was preempted while the sample that ends the call was under way
            self._batch.leave(request)
        if expected_duration_s is None and request.estimate:
            expected_duration_s = request.estimate[0].api_duration_s
        self._pause(request, now, expected_duration_s)
        past_s = self.call_history.past_s(tool)
        handling = self._forecaster.at_call(request, expected_duration_s, past_s, self._surroundings(now, anew=True))
        self._paused.choose(request, handling)
        return request.handling

    def client_called(self, request_id: str, now: float, call: ClientCall) -> Handling | None:
        """Ends a request with calls that its client runs; what becomes of its blocks; None if they are let go.

        They are treated like those of a request whose tool runs, but for no longer than such calls have taken of late.
        """
        request = self._requests[request_id]
        if self._client_calls.keep_s(call) <= 0.0:
            self.finish(request_id, FinishReason.TOOL_CALLS, now)
            return None
        if request.state is RequestState.RUNNING:
            self._batch.leave(request)
        self._note_end(request, FinishReason.TOOL_CALLS, now)
        self._client_calls.add(request, call, now)
        expected_s = self._client_calls.expected_s(call)
        self._pause(request, now, expected_s)
        handling = self._forecaster.at_call(
            request, expected_s, self._client_calls.past_s(call), self._surroundings(now, anew=True), foreseen=False
        )
        self._paused.choose(request, handling)
        return request.handling

    def release_kept(self) -> None:
        """Lets go what is kept for clients that are to come back."""
        for request in self._client_calls.overdue(float("inf")):
            self._release(request)

    def api_returned(self, request_id: str, token_ids: list[int], now: float) -> None:
        """Appends the tokens of a call's result, cut to what the context holds, and queues the request again."""
        request = self._requests[request_id]
        if (room := self.room_tokens(request)) <= 0:
            raise ValueError(f"request {request_id!r} has no room for a result; finish it instead")
        self._paused.remove(request_id)
        self._forecaster.seen(request, now - request.paused_s, len(token_ids))
        request.token_ids.extend(token_ids[:room])
        request.num_calls += 1
        request.num_sampled_before_segment = request.num_sampled_tokens
        self._forecaster.predict(request, self._surroundings(now, anew=True))
        self._enqueue(request, now)

    def predict_anew(self, request_id: str, now: float) -> bool:
        """Asks the predictor again about a request of which it knows more now; False if there is no such request (any more)."""
        request = self._requests.get(request_id)
        if request is None or request.finish_reason is not None:
            return False
        if request.state is not RequestState.IN_API_CALL:
            around = self._surroundings(now)
            self._forecaster.predict(request, around)
            if request.state is RequestState.WAITING:
                self._queue.move(request, self._forecaster.rank(request, around))
        return True

    def next_wake_s(self) -> float | None:
        """When `schedule` will have something to do even if nothing happens before; None if only events bring that about."""
        times = [self._swapper.next_wake_s(self._planned_s), self._client_calls.next_overdue_s()]
        return min((time for time in times if time is not None), default=None)

    def room_tokens(self, request: Request) -> int:
        """Tokens that can be appended to a request with one more left to generate."""
        return self.config.max_model_len - 1 - len(request.token_ids)

    def replace_last_token(self, request_id: str, token_ids: list[int]) -> None:
        """Rewrites the last token of a request in an API call, which had run on past the end of its call."""
        self.memory.rewrite_end(self._paused.by_id[request_id], token_ids)

    def finish(self, request_id: str, reason: FinishReason, now: float) -> None:
        """Ends a request in whatever state it is, and frees what it holds."""
        request = self._requests.pop(request_id)
        if request.state is RequestState.RUNNING:
            self._batch.leave(request)
        self._paused.remove(request_id)
        self._giving_way.holding.pop(request_id, None)
        self._swapper.stop_loading(request)
        self.memory.discard(request)
        request.state = RequestState.FINISHED
        self._note_end(request, reason, now)

    def abort(self, request_id: str) -> bool:
        """Ends a request at somebody's wish; False if there is no such request (any more)."""
        request = self._requests.get(request_id)
        if request is None or request.finish_reason is not None:
            return False
        self.finish(request_id, FinishReason.ABORT, 0.0)
        return True

    def check(self) -> None:
        """Proves that blocks, slots and lists agree with each other.

        Raises:
            AssertionError: If they do not.
        """
        self.memory.check(self._requests.values())
        self._batch.check()
        for request in self._requests.values():
            assert (request.slot is not None) == (request.state is RequestState.RUNNING)
            assert request.num_computed_tokens <= request.num_tokens
            assert request.state is not RequestState.RUNNING or not request.host_block_ids
            holds = request.state is RequestState.WAITING and request.block_ids
            assert not holds or request.request_id in self._giving_way.holding
        assert all(request.state is RequestState.WAITING for request in self._swapper.loading)
        assert self.num_waiting >= 0

    # What follows is for calls: of tools, and of clients.

    def _pause(self, request: Request, now: float, expected_duration_s: float | None) -> None:
        """Takes a request that is in no batch any more for one in a call."""
        self._swapper.stop_loading(request)
        request.state, request.paused_s, request.keep_until_s = RequestState.IN_API_CALL, now, None
        request.expected_return_s = None if expected_duration_s is None else now + expected_duration_s
        self._paused.add(request)
        self._swapper.call_begun(request)

    def _take_over(self, request: Request, kept: Request, num_tokens: int) -> None:
        """Gives a new request what is kept of the one that it goes on from."""
        self._client_calls.learn(kept, request.arrival_s, request.num_prompt_tokens)
        self.memory.hand_over(kept, request, num_tokens)
        request.goes_on = True
        self._release(kept)

    def _release(self, kept: Request) -> None:
        """Lets an ended request go that was kept for its client."""
        self._client_calls.remove(kept.request_id)
        del self._requests[kept.request_id]
        self._paused.remove(kept.request_id)
        self._giving_way.holding.pop(kept.request_id, None)
        self.memory.discard(kept)
        kept.state = RequestState.FINISHED

    def _note_end(self, request: Request, reason: FinishReason, now: float) -> None:
        """Takes in that a request has ended."""
        request.finish_reason = reason
        self._under_way.discard(request.request_id)
        self._programs.leave(request)
        if reason in (FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS):
            self._forecaster.seen(request)
            if request.program is not None:
                request.program.last_end = ProgramEnd(now, reason, len(request.token_ids))

    # What follows is the inside of `schedule`: first the order of service.

    def _surroundings(self, now: float, *, anew: bool = False) -> Surroundings:
        """What rules look at; within a plan it is looked up once."""
        if self._around is None or anew or self._around.now != now:
            self._around = self._surroundings_of(now, *self._load())
        return self._around

    def _surroundings_of(self, now: float, batch_tokens: int, context_tokens: int) -> Surroundings:
        config, cost_model = self.config, self.cost_model or TOKENS_ALONE
        return Surroundings(
            now,
            cost_model,
            self.blocks.block_size,
            config.token_budget,
            config.max_chunk_tokens,
            batch_tokens,
            context_tokens,
            len(self.blocks.host.ids) > 0,
            config.call_duration == "expected",
            crowd_of(cost_model, min(batch_tokens, config.token_budget), context_tokens),
        )

    def _load(self) -> tuple[int, int]:
        """Tokens of running requests that are still to be computed, and those that are."""
        uncomputed = computed = 0
        for request in self._batch.running:
            computed += (done := request.num_computed_tokens)
            uncomputed += len(request.token_ids) + request.num_pending_samples - done
        return uncomputed, computed

    def _rank_anew(self, now: float) -> None:
        """Promotes who starves, refreshes ranks that change with time, and lets a better rank displace a worse one."""
        rank_again = self._forecaster.rank_again
        self._queue.promote_starving(self.num_steps, lambda request: rank_again(request, self._surroundings(now)))
        if self.system.drifts and self.config.rank_refresh_steps:
            around = self._surroundings(now)
            self._queue.refresh(self.config.rank_refresh_steps, lambda request: rank_again(request, around))
            if self.system.preempts and self.num_steps % self.config.rank_refresh_steps == 0:
                for request in self._batch.running:
                    request.rank = self._forecaster.rank(request, around)
                self._batch.running.sort(key=by_rank)
        if not self.system.preempts:
            return
        while (first := self._queue.first()) is not None and self._batch.running:
            last = self._batch.running[-1]
            missing = self.blocks.num_missing_blocks(len(first.block_ids), len(first.token_ids))
            fits = not self._batch.is_full and missing <= self.blocks.num_free_blocks
            if fits or first.rank >= last.rank:
                return
            self._preempt(last)

    def _enqueue(self, request: Request, now: float) -> None:
        """Queues a request that arrives or returns."""
        request.queued_order = next(self._counter)
        request.rank = (RESUMES,) if self._forecaster.resumes_first(request) else ()
        self._requeue(request, now)

    def _requeue(self, request: Request, now: float) -> None:
        """Queues a request, at the place that it had if it need not be ranked anew."""
        request.state = RequestState.WAITING
        if request.rank and request.rank[0] == RESUMES and not request.block_ids:
            request.rank = ()  # what let it go first is gone
        request.rank = self._forecaster.rank(request, self._surroundings(now))
        if request.block_ids or request.host_block_ids:
            self._giving_way.holding[request.request_id] = request
        self._queue.push(request, self.num_steps)

    # Then the batch.

    def _plan(self, prefills: list[PrefillChunk], decodes: list[Decode]) -> StepPlan:
        swap_outs, swap_ins = self.memory.copies()
        plan = StepPlan(next(self._step_ids), tuple(prefills), tuple(decodes), swap_outs, swap_ins)
        if self._program_limit and plan:
            self._program_limit.stepped(plan.num_tokens, self.num_recomputed_tokens)
        if plan:
            self.num_steps += 1
            self.memory.note_computed(plan.step_id, (self._requests[row.request_id] for row in (*prefills, *decodes)))
        return plan

    def _admit(self, budget: int, prefills: list[PrefillChunk]) -> None:
        batch = self._batch
        while budget and not batch.is_full and (request := self._queue.first()) is not None:
            if request.num_pending_samples:  # preempted with a sample under way; its value is known by the next plan
                return
            if (parent := request.parent) is not None:
                if self._is_coming(parent, prefills):
                    return
                self.memory.fork(parent, request)
                request.parent = None
                self._giving_way.holding[request.request_id] = request
            if self._is_one_too_many(request) or not self._has_room(request, budget):
                return
            self._under_way.add(request.request_id)
            self._queue.pop_first()
            if request.host_block_ids and not self._swapper.begin_loading(request):
                self._giving_way.holding[request.request_id] = request
                continue
            self._giving_way.holding.pop(request.request_id, None)
            batch.join(request)
            num_tokens = batch.next_tokens(request, budget)
            self.memory.extend(request, request.num_computed_tokens + num_tokens)
            prefills.append(batch.chunk(request, num_tokens))
            budget -= num_tokens

    def _is_one_too_many(self, request: Request) -> bool:
        """Whether a request that has not begun must wait until others have ended; an idle device waits for nobody."""
        limit = self._program_limit
        if limit is None or not self._batch.running or request.request_id in self._under_way:
            return False
        return not limit.allows(len(self._under_way))

    def _is_coming(self, parent: Request, prefills: list[PrefillChunk]) -> bool:
        """Whether the prompt of a request that others wait to share is being computed, or brought back, by this plan or later."""
        if self.memory.is_arriving(parent):
            return True
        mine = [chunk for chunk in prefills if chunk.request_id == parent.request_id and chunk.start < parent.num_prompt_tokens]
        return bool(mine) or (parent.slot is not None and parent.num_computed_tokens < parent.num_prompt_tokens)

    def _has_room(self, request: Request, budget: int) -> bool:
        """Whether a waiting request is admitted; if so, what is found of its beginning is its own."""
        found = ([], []) if request.block_ids or request.host_block_ids else self.memory.find_beginning(request)
        ahead = [other for other in self._swapper.loading if other.rank < request.rank]
        promised = sum(len(other.host_block_ids) for other in ahead)
        while True:
            free = self.blocks.num_free_blocks - self.memory.num_cached(found[0]) - promised
            held = len(request.block_ids) + len(found[0])
            chunk = min(budget, self.config.max_chunk_tokens)
            computed = max(request.num_computed_tokens, (len(found[0]) + len(found[1])) * self.blocks.block_size)
            room = Room(free, held, computed, self.blocks.block_size, chunk, self._batch.running)
            # A request whose blocks are on the host wants all of them back before it runs.
            known = room.missing_blocks(len(request.token_ids))
            if self.system.admits(request, room) and len(request.host_block_ids) + len(found[1]) <= max(free, 0):
                break
            # An idle device does not wait for memory that only paused requests hold, or ones that wait behind this one.
            lacking, giving_way = known - free, self._giving_way
            if not giving_way.take_from_late_clients(lacking, self._planned_s) and (
                self._batch.running or ahead or not giving_way.make_room(request, lacking)
            ):
                return False
            if found != ([], []):
                found = self.memory.find_beginning(request)  # what gave way may have been what was found
        if found != ([], []):
            self.memory.adopt(request, *found)
        return True

    # Then memory: who gives way.

    def _expected_tokens(self, uncomputed: int) -> int:
        """Tokens that the step will compute, about."""
        num_running = len(self._batch.running)
        full = uncomputed > num_running or not num_running or self._queue.first() is not None
        return self.config.token_budget if full else num_running

    def _preempt(self, request: Request, num_blocks: int | None = None) -> None:
        """Sends a running request back to the queue, with `num_blocks` of its blocks less, or without any.

        It keeps a sample that is under way, unless that may have been drawn from junk: then the token is computed again.
        """
        proven = self.memory.is_proven(request)
        self._batch.leave(request, keep_pending=proven)
        if not proven:
            request.num_computed_tokens = min(request.num_computed_tokens, len(request.token_ids) - 1)
        self._giving_way.give_way(request, num_blocks or len(request.block_ids))
        request.num_preemptions += 1
        self.num_preemptions += 1
        self._requeue(request, self._planned_s)

    def _take_loss(self, result: StepResult, now: float) -> None:
        """Sends back requests whose blocks did not survive a copy: what they lost, and computed from it, is computed again."""
        for request in self._requests.values():
            if not result.lost_blocks.isdisjoint(request.block_ids):
                runs = request.state is RequestState.RUNNING
                if runs:
                    self._batch.leave(request)
                self.memory.discard(request)
                if runs:
                    self._requeue(request, now)
            elif not result.lost_host_blocks.isdisjoint(request.host_block_ids):
                self.memory.cut_lost_host_blocks(request, result.lost_host_blocks)
        self.memory.forget_lost(result.lost_blocks, result.lost_host_blocks)
