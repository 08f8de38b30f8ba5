"""The loop: schedule → execute → update. Start reading here.

A request is a list of tokens of which more and more are computed (`sched.scheduler` decides which, `jax_executor` computes them).
Each sampled token is turned into text (`text_stream`); where the text ends in a call, the request leaves the batch, `api_runner`
runs the tool, and the request comes back with the result's tokens appended.

Server, offline `LLM` and tests run this same class; they differ in the executor, the runner of tools and the clock they pass.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.engine.events import ApiCall, Event, EventSink, RequestOutput
from lamps_jax.engine.options import NO_OPTIONS, RequestOptions
from lamps_jax.engine.text_stream import TextStream, TokenReader
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.estimates import LatePredictor
from lamps_jax.sched.plan import StepPlan, StepResult
from lamps_jax.sched.request import FinishReason, Request, RequestState, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.call_format import WrittenCall, parse_arguments
from lamps_jax.tools.tool import Tool, ToolError

if TYPE_CHECKING:  # a simulation needs no tokenizer, which takes seconds to import
    from lamps_jax.models.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Seconds since some fixed moment."""


class Executor(Protocol):
    """Runs plans in the order in which they are submitted."""

    def submit(self, plan: StepPlan) -> Any:
        """Starts a step; returns what `collect` takes."""
        ...

    def collect(self, handle: Any) -> StepResult:
        """Waits for the step's samples."""
        ...


class ApiRunner(Protocol):
    """Runs tools while the loop goes on; each call once."""

    def start(self, request_id: str, tool: Tool, arguments: dict[str, Any]) -> None:
        """Begins a call."""
        ...

    def poll(self) -> list[ApiOutcome]:
        """Calls that ended since the last poll."""
        ...

    def cancel(self, request_id: str) -> None:
        """Forgets the calls of a request."""
        ...

    def next_deadline_s(self) -> float | None:
        """When `poll` will have something to say even if no tool returns."""
        ...


@dataclass(slots=True)
class _LiveRequest:
    """A request that has not ended, with what the engine, unlike the scheduler, knows of it."""

    request: Request
    output: RequestOutput
    reader: TokenReader
    on_event: EventSink
    client_tools: Mapping[str, Tool]
    tool_state: dict[str, dict[str, Any]] = field(default_factory=dict)


class Engine:
    """Serves many requests at once. Everything but `wake_up` is to be called from one thread.

    Args:
        tokenizer: Of the model; None where every request is added with a reader of its own.
        late_predictor: The scheduler's predictor, if that may know more of a request some time after it was asked.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        executor: Executor,
        api_runner: ApiRunner,
        tokenizer: "Tokenizer | None",
        tools: Mapping[str, Tool],
        eos_token_ids: tuple[int, ...],
        default_temperature: float = 1.0,
        late_predictor: LatePredictor | None = None,
        clock: Clock = time.monotonic,
    ):
        self.scheduler, self.tools, self.clock = scheduler, tools, clock
        self.default_temperature = default_temperature
        self._executor, self._api_runner, self._tokenizer = executor, api_runner, tokenizer
        self._eos_token_ids, self._late_predictor = frozenset(eos_token_ids), late_predictor
        self._max_model_len = scheduler.config.max_model_len
        self._live: dict[str, _LiveRequest] = {}
        self._ids = itertools.count()
        self._in_flight: Any = None
        self._wake_up = threading.Event()

    @property
    def tokenizer(self) -> "Tokenizer":
        """Between text and tokens.

        Raises:
            RuntimeError: If the engine has none.
        """
        if self._tokenizer is None:
            raise RuntimeError("this engine has no tokenizer; add its requests with a reader of their tokens")
        return self._tokenizer

    @property
    def num_unfinished(self) -> int:
        """Requests that have not ended."""
        return len(self._live)

    def memory_state(self) -> dict[str, int]:
        """What the KV memory holds and has been through, by name; from any thread, which may see a step half-way."""
        blocks, memory = self.scheduler.blocks, self.scheduler.memory
        return {
            "device_blocks": len(blocks.device.ids),
            "free_device_blocks": blocks.device.num_free,
            "host_blocks": len(blocks.host.ids),
            "free_host_blocks": blocks.host.num_free,
            "swapped_out_blocks": memory.num_swapped_out_blocks,
            "swapped_in_blocks": memory.num_swapped_in_blocks,
            "lost_blocks": memory.num_lost_blocks,
            "evicted_blocks": blocks.device.num_evictions + blocks.host.num_evictions,
            "found_tokens": memory.num_found_tokens,
            "preemptions": self.scheduler.num_preemptions,
            "running_requests": self.scheduler.num_running,
            "waiting_requests": max(0, self.scheduler.num_waiting),
            "requests_in_api_call": self.scheduler.num_in_api_call,
        }

    def add(
        self,
        prompt_token_ids: list[int],
        sampling: SamplingParams,
        *,
        on_event: EventSink,
        options: RequestOptions = NO_OPTIONS,
        fork_of: str | None = None,
        reader: TokenReader | None = None,
        request_id: str | None = None,
    ) -> str:
        """Queues a request; returns its id.

        Args:
            options: What else is asked of it.
            fork_of: Id of a request with the same prompt, of which this is a further answer: the prompt is computed once.
            reader: Says what its tokens mean; None reads them as the model's text.
            request_id: Its id; None for one of the engine's own.

        Raises:
            ValueError: If the prompt is empty, too long for the model's context, or not that of `fork_of`.
        """
        request_id, now = request_id or f"request-{next(self._ids)}", self.clock()
        request = Request(
            request_id, now, list(prompt_token_ids), sampling,
            cache_salt=options.cache_salt, request_type=options.request_type, program_id=options.program_id, hints=options.hints,
        )  # fmt: skip
        self.scheduler.add(request, fork_of=fork_of)
        client_tools = options.client_tools
        if reader is None:
            names = frozenset((*self.tools, *client_tools)) if options.recognise_calls else frozenset[str]()
            detokenizer = self.tokenizer.stream(request.token_ids)
            reader = TextStream(detokenizer, tools=names, stop=sampling.stop, tokenizer=self.tokenizer)
        output = RequestOutput(request_id, len(prompt_token_ids), Timestamps(now))
        self._live[request_id] = _LiveRequest(request, output, reader, on_event, client_tools)
        return request_id

    def abort(self, request_id: str) -> None:
        """Ends a request in whatever state it is; one that has ended already is left alone."""
        if live := self._live.get(request_id):
            self._finish(live, FinishReason.ABORT)

    def fail_all(self, message: str) -> None:
        """Ends every request with an error: for when the loop cannot go on."""
        for live in list(self._live.values()):
            live.output.error = message
            self._finish(live, FinishReason.ERROR)

    def step(self) -> bool:
        """One turn of the loop; False if there was nothing to do, and there will not be before a tool returns or somebody asks.

        The next step is submitted before the last one is collected, so that the device computes while Python decides.
        """
        outcomes = self._api_runner.poll()
        for outcome in outcomes:
            self._guarded(outcome.request_id, self._resume, outcome)
        if self._late_predictor is not None:
            self._take_predictions(self._late_predictor)
        plan = self.scheduler.schedule(self.clock())
        submitted = self._executor.submit(plan) if plan else None
        collected, self._in_flight = self._in_flight, submitted
        if collected is not None:
            result = self._executor.collect(collected)
            now = self.clock()
            live = self._live
            for request, token_id in self.scheduler.update(result, now):
                try:
                    self._take_token(live[request.request_id], token_id, now)
                except Exception as error:
                    self._fail(request.request_id, error)
        return bool(outcomes) or submitted is not None or collected is not None

    def wake_up(self) -> None:
        """Ends a `wait`; may be called from any thread."""
        self._wake_up.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Sleeps until `wake_up`, the first time-out of a tool, the time the scheduler waits for, or `timeout_s`."""
        now = self.clock()
        limits = [] if timeout_s is None else [timeout_s]
        for deadline in (self._api_runner.next_deadline_s(), self.scheduler.next_wake_s()):
            limits += [] if deadline is None else [max(0.0, deadline - now)]
        self._wake_up.wait(min(limits, default=None))
        self._wake_up.clear()

    def _take_predictions(self, predictor: LatePredictor) -> None:
        """Has requests that wait ranked by what is known of them only now."""
        now = self.clock()
        for request_id in predictor.arrived():
            if not self.scheduler.predict_anew(request_id, now):
                predictor.forget(request_id)

    def _guarded(self, request_id: str, act: Callable[..., None], *arguments: Any) -> None:
        """Does something for one request; whatever goes wrong there ends that request with an error, and no other."""
        try:
            act(*arguments)
        except Exception as error:
            self._fail(request_id, error)

    def _fail(self, request_id: str, error: Exception) -> None:
        """Ends a request with an error; to be called where the error is handled."""
        logger.exception("%s ends with an error", request_id)
        if live := self._live.get(request_id):
            live.output.error = f"the request failed ({type(error).__name__}: {error})"
            self._finish(live, FinishReason.ERROR)

    def _take_token(self, live: _LiveRequest, token_id: int, now: float) -> None:
        request, output, sampling = live.request, live.output, live.request.sampling
        times, num_sampled = output.timestamps, request.num_sampled_tokens
        times.last_token_s = now
        if times.first_token_s is None:
            times.first_token_s = now
        output.token_ids.append(token_id)
        step = live.reader.push(token_id, stop_allowed=num_sampled >= sampling.min_tokens)
        if step.text:
            self._show(live, step.text)
        if step.stopped or (token_id in self._eos_token_ids and not sampling.ignore_eos):
            self._finish(live, FinishReason.STOP, flush=not step.stopped)
        elif num_sampled == sampling.max_tokens or len(request.token_ids) >= self._max_model_len:
            self._finish(live, FinishReason.LENGTH)
        elif step.call is not None:
            self._call(live, step.call, step.token_text)

    def _show(self, live: _LiveRequest, text: str) -> None:
        if text:
            live.output.text += text
            live.on_event(Event("text", live.output, text=text))

    def _call(self, live: _LiveRequest, written: WrittenCall, token_text: str) -> None:
        """Ends a request at a call that its client runs; otherwise takes it out of the batch and starts the tool."""
        output = live.output
        tool = live.client_tools.get(written.name) or self.tools[written.name]
        call_id = f"call_{output.request_id}_{len(output.calls)}"
        call = ApiCall(call_id, tool.name, {}, written.arguments, num_output_tokens=len(output.token_ids))
        problem = None
        try:
            call.arguments = parse_arguments(tool, written.arguments)
        except ToolError as error:
            problem = f"error: {error}"
        if len(output.calls) >= self.scheduler.config.max_calls:
            problem = f"error: no more than {self.scheduler.config.max_calls} calls are allowed"
        output.calls.append(call)
        if written.name in live.client_tools:
            live.on_event(Event("call", output, call=call))
            self._finish(live, FinishReason.TOOL_CALLS)
            return
        expected_s = 0.0 if problem else self.scheduler.call_history.expected_s(tool.name)
        call.expected_s = None if problem else expected_s
        call.handling = self.scheduler.api_called(output.request_id, self.clock(), expected_s, tool=tool.name)
        if written.surplus:
            kept = token_text.removesuffix(written.surplus).lstrip("\N{REPLACEMENT CHARACTER}")  # bytes of an earlier token
            self.scheduler.replace_last_token(output.request_id, self.tokenizer.encode_text(kept))
        live.on_event(Event("call", output, call=call))
        if problem:
            self._resume(ApiOutcome(output.request_id, problem, failed=True, duration_s=0.0))
            return
        state = {"state": live.tool_state.setdefault(tool.name, {})} if tool.stateful else {}
        self._api_runner.start(output.request_id, tool, {**call.arguments, **state})

    def _resume(self, outcome: ApiOutcome) -> None:
        """Gives a request the result of its call and queues it again."""
        live = self._live.get(outcome.request_id)
        if live is None:
            return
        call = live.output.calls[-1]
        call.result, call.failed, call.duration_s = outcome.result, outcome.failed, outcome.duration_s
        call.handling = live.request.handling  # want of memory may have turned preserve into discard
        live.output.timestamps.api_s += outcome.duration_s
        whole, room = live.reader.result_token_ids(outcome.result), self.scheduler.room_tokens(live.request)
        call.returned_token_ids = token_ids = whole[: max(0, room)]
        if not outcome.failed:
            self.scheduler.call_history.observe(call.name, outcome.duration_s, len(whole))
        live.on_event(Event("result", live.output, call=call))
        if room <= 0:
            self._finish(live, FinishReason.LENGTH)
            return
        live.reader.inject(token_ids)
        self.scheduler.api_returned(outcome.request_id, token_ids, self.clock())

    def _finish(self, live: _LiveRequest, reason: FinishReason, *, flush: bool = True) -> None:
        request_id = live.output.request_id
        if flush and reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._show(live, live.reader.flush())
        if live.request.state is RequestState.IN_API_CALL:
            self._api_runner.cancel(request_id)
        self.scheduler.finish(request_id, reason, self.clock())
        if self._late_predictor is not None:
            self._late_predictor.forget(request_id)
        del self._live[request_id]
        live.output.finish_reason = reason
        live.output.num_cached_prompt_tokens = live.request.num_cached_prompt_tokens
        live.output.timestamps.finished_s = self.clock()
        live.on_event(Event("finished", live.output))
