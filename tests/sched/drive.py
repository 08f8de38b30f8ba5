"""A scheduler driven as the engine drives it, its twin, and the naive loop that says what every request must yield."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.client_calls import ClientCall
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import Predictor
from lamps_jax.sched.plan import StepResult
from lamps_jax.sched.request import FinishReason, Request, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from tests.token_memory import TokenMemory

EOS, CALL = 0, 1


def make_scheduler(
    *,
    num_blocks: int = 65,
    block_size: int = 4,
    num_host_blocks: int = 0,
    cost_model: CostModel | None = None,
    predictor: Predictor | None = None,
    **limits: Any,
) -> Scheduler:
    """Without a prefix index unless asked for, so that what is freed is gone."""
    config = {"token_budget": 16, "max_chunk_tokens": 8, "max_num_seqs": 4, "max_model_len": 32, "prefix_cache": False} | limits
    blocks = BlockManager(num_blocks, block_size, num_host_blocks=num_host_blocks)
    return Scheduler(SchedulerConfig(**config), blocks, cost_model, predictor)


def make_request(request_id: str, num_tokens: int, *, max_tokens: int | None = None) -> Request:
    return Request(request_id, 0.0, list(range(100, 100 + num_tokens)), SamplingParams(max_tokens=max_tokens))


def _hash(tokens: Sequence[int], salt: str) -> int:
    return zlib.crc32(f"{salt}{tokens}".encode())


def next_token(context: Sequence[int]) -> int:
    """A model that calls a tool now and then, ends now and then, and depends on every token of its context."""
    draw, rest = _hash(context, "token") % 16, _hash(context, "rest")
    return EOS if draw == 0 else CALL if draw <= 3 else 2 + rest % 50


def surgery(tokens: Sequence[int]) -> list[int]:
    """What a call's last token is rewritten to: two tokens, one, none, or itself."""
    draw = _hash(tokens, "surgery") % 5
    return [51, 52] if draw == 0 else [53] if draw == 1 else [] if draw == 2 else [CALL]


def result_of(tokens: Sequence[int]) -> list[int]:
    return [60 + n for n in range(1 + _hash(tokens, "result") % 7)]


def returns_at_once(tokens: Sequence[int]) -> bool:
    return _hash(tokens, "at once") % 4 == 0


def client_runs(tokens: Sequence[int]) -> bool:
    """Whether the call with which a text ends is one that the client runs, where there are such."""
    return _hash(tokens, "client") % 3 == 0


def undisturbed(prompt: Sequence[int], max_tokens: int | None, max_model_len: int) -> list[int]:
    """All tokens of a request that is alone in the world, by the naive loop."""
    tokens, num_sampled = list(prompt), 0
    while True:
        tokens.append(next_token(tokens))
        num_sampled += 1
        if tokens[-1] == EOS or num_sampled == max_tokens or len(tokens) >= max_model_len:
            return tokens
        if tokens[-1] == CALL:
            tokens[-1:] = surgery(tokens)
            room = max_model_len - 1 - len(tokens)
            if room <= 0:
                return tokens
            tokens += result_of(tokens)[:room]


@dataclass
class Drive:
    """A scheduler, its twin that gets the same calls, and a device; one `step` is one turn of the engine's loop."""

    config: SchedulerConfig
    block_size: int
    num_blocks: int
    num_host_blocks: int = 0
    cost_model: CostModel | None = None
    live: dict[str, Request] = field(default_factory=dict)
    paused: list[str] = field(default_factory=list)
    finished: dict[str, Request] = field(default_factory=dict)
    num_stale: int = 0
    num_discarded_while_paused: int = 0
    num_rewritten: int = 0
    num_taken_over: int = 0
    with_clients: bool = False
    awaited: list[tuple[str, list[int]]] = field(default_factory=list)  # ids of calls that clients run, and the text before

    def __post_init__(self) -> None:
        self.scheduler, self.twin = (
            Scheduler(
                self.config, BlockManager(self.num_blocks, self.block_size, num_host_blocks=self.num_host_blocks), self.cost_model
            )
            for _ in range(2)
        )
        self.now = 0.0
        self.device = TokenMemory(next_token, self.config, self.scheduler.blocks)
        self.prompts: dict[str, tuple[list[int], int | None]] = {}
        self.in_flight: StepResult | None = None

    def fork(self, request_id: str, max_tokens: int | None) -> None:
        """A further request with the prompt of a live one."""
        self.arrive(self.prompts[request_id][0], max_tokens, fork_of=request_id)

    def arrive(
        self, prompt: list[int], max_tokens: int | None, fork_of: str | None = None, answered_calls: Sequence[str] = ()
    ) -> None:
        request_id = f"r{len(self.prompts)}"
        self.prompts[request_id] = prompt, max_tokens
        request, twin = (Request(request_id, self.now, list(prompt), SamplingParams(max_tokens=max_tokens)) for _ in range(2))
        self.live[request_id] = request
        self.scheduler.add(request, fork_of=fork_of, answered_calls=answered_calls)
        self.twin.add(twin, fork_of=fork_of, answered_calls=answered_calls)
        self.num_taken_over += request.goes_on and bool(request.block_ids or request.host_block_ids)
        self.scheduler.check()

    def client_return(self, *, by_id: bool) -> None:
        """The client whose request ended last comes back with a result, and goes on from there."""
        call_id, text = self.awaited.pop()
        prompt = text + result_of(text)
        if len(prompt) < self.config.max_model_len:
            self.arrive(prompt, None, answered_calls=[call_id] if by_id else ())

    def step(self) -> None:
        held = {request_id for request_id in self.paused if self.live[request_id].block_ids}
        self.now += 1.0
        plan = self.scheduler.schedule(self.now)
        self.scheduler.check()
        assert plan == self.twin.schedule(self.now), "same calls, other plans"
        self.num_discarded_while_paused += sum(not self.live[request_id].block_ids for request_id in held)
        submitted = self.device.submit(plan) if plan else None
        collected, self.in_flight = self.in_flight, submitted
        idle = len(self.live) == len(self.paused)  # kept ones, which are no longer live, wait for nothing here
        assert submitted or collected or idle, "requests wait, nothing runs, and nothing will change that"
        if collected:
            accepted = self.scheduler.update(collected, self.now)
            twins = self.twin.update(collected, self.now)
            assert [(r.request_id, token) for r, token in accepted] == [(r.request_id, token) for r, token in twins]
            self.num_stale += len(collected.sampled) - len(accepted)
            for request, token_id in accepted:
                self.take(request, token_id)
        self.scheduler.check()
        self.twin.check()

    def step_with_failing_copies(self, every: int, way: str) -> None:
        """A step in which one copy of `every` fails, on its way in or out."""
        failing = {block for block in range(self.num_host_blocks) if block % every == 0}
        self.device.failing_ins, self.device.failing_outs = (failing, set()) if way == "in" else (set(), failing)
        self.step()
        self.device.failing_ins, self.device.failing_outs = set(), set()

    def take(self, request: Request, token_id: int) -> None:
        max_tokens = request.sampling.max_tokens
        if token_id == EOS:
            self.finish(request, FinishReason.STOP)
        elif request.num_sampled_tokens == max_tokens or len(request.token_ids) >= self.config.max_model_len:
            self.finish(request, FinishReason.LENGTH)
        elif token_id == CALL and self.with_clients and client_runs(request.token_ids):
            self.client_call(request)
        elif token_id == CALL:
            rewritten, expected_s = surgery(request.token_ids), self.expected_s(request)
            for scheduler in (self.scheduler, self.twin):
                scheduler.api_called(request.request_id, self.now, expected_s)
                if rewritten != [CALL]:
                    scheduler.replace_last_token(request.request_id, rewritten)
            self.num_rewritten += rewritten != [CALL]
            self.paused.append(request.request_id)
            if returns_at_once(request.token_ids):
                self.api_return(request.request_id)

    def client_call(self, request: Request) -> None:
        """Ends a request with a call that its client runs."""
        request_id = request.request_id
        prompt, max_tokens = self.prompts[request_id]
        del self.live[request_id]
        expected = undisturbed(prompt, max_tokens, self.config.max_model_len)
        before = len(request.token_ids) - 1  # where the call is rewritten if a tool runs it
        assert request.token_ids[:before] == expected[:before], f"{request_id} yields other tokens than when it is alone"
        call = ClientCall((f"call of {request_id}",), ("theirs",), self.expected_s(request))
        handlings = [scheduler.client_called(request_id, self.now, call) for scheduler in (self.scheduler, self.twin)]
        assert handlings[0] == handlings[1]
        self.awaited.append((f"call of {request_id}", list(request.token_ids)))

    def expected_s(self, request: Request) -> float | None:
        """A guess at how long the call takes; sometimes none."""
        guess = _hash(request.token_ids, "expected") % 12
        return None if guess < 4 else float(guess)

    def api_return(self, request_id: str) -> None:
        self.paused.remove(request_id)
        request = self.live[request_id]
        if self.scheduler.room_tokens(request) <= 0:
            self.finish(request, FinishReason.LENGTH)
            return
        result = result_of(request.token_ids)
        self.scheduler.api_returned(request_id, result, self.now)
        self.twin.api_returned(request_id, result, self.now)
        self.scheduler.check()

    def finish(self, request: Request, reason: FinishReason) -> None:
        request_id = request.request_id
        self.scheduler.finish(request_id, reason, self.now)
        self.twin.finish(request_id, reason, self.now)
        self.finished[request_id] = self.live.pop(request_id)
        prompt, max_tokens = self.prompts[request_id]
        expected = undisturbed(prompt, max_tokens, self.config.max_model_len)
        assert request.token_ids == expected, f"{request_id} yields other tokens than when it is alone"

    def abort(self, request_id: str) -> None:
        assert self.scheduler.abort(request_id)
        assert self.twin.abort(request_id)
        del self.live[request_id]
        if request_id in self.paused:
            self.paused.remove(request_id)
        self.scheduler.check()

    def drain(self, *, max_steps: int = 3000) -> None:
        """Lets every call return and every request end."""
        for _ in range(max_steps):
            for request_id in list(self.paused):
                self.api_return(request_id)
            if not self.live and self.in_flight is None:
                break
            self.step()
        assert not self.live, f"{list(self.live)} did not end within {max_steps} steps"
        for scheduler in (self.scheduler, self.twin):
            scheduler.release_kept()
            scheduler.check()
        assert self.scheduler.blocks.num_free_blocks == self.num_blocks - 1
        assert self.scheduler.blocks.host.num_free == self.num_host_blocks
        counts = self.scheduler.num_waiting, self.scheduler.num_running, self.scheduler.num_in_api_call
        assert counts == (0, 0, 0)
