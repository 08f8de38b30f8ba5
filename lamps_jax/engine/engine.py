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
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lamps_jax.engine.api_runner import ApiOutcome
from lamps_jax.engine.calls import ReadCall, awaited_calls, read_call
from lamps_jax.engine.control import ConstraintFailed, Control
from lamps_jax.engine.events import Event, EventSink, RequestOutput
from lamps_jax.engine.live_request import LiveRequest, controlled
from lamps_jax.engine.options import NO_OPTIONS, RequestOptions
from lamps_jax.engine.protocols import ApiRunner, Clock, Executor, StepSink
from lamps_jax.engine.text_stream import TextStream, TokenReader
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.estimates import LatePredictor
from lamps_jax.sched.plan import SampledLogprob
from lamps_jax.sched.request import FinishReason, Handling, Request, RequestState, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.formats.call_format import CallFormat, WrittenCall
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.tool import Tool

if TYPE_CHECKING:  # a simulation needs no tokenizer, which takes seconds to import
    from lamps_jax.engine.grammar import Grammars
    from lamps_jax.models.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


class Engine:
    """Serves many requests at once. Everything but `wake_up` is to be called from one thread.

    Args:
        tokenizer: Of the model; None where every request is added with a reader of its own.
        grammars: What constraints are compiled with; None where no request has any.
        call_format: The form in which the model writes calls.
        late_predictor: The scheduler's predictor, if that may know more of a request some time after it was asked.

    Attributes:
        on_step: Told of every step, on the engine's thread; must return soon and not raise. To be set before the first step.
        num_sampled_tokens: Tokens that its requests have taken, so far.
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
        grammars: "Grammars | None" = None,
        call_format: CallFormat = INLINE,
        clock: Clock = time.monotonic,
    ):
        self.scheduler, self.tools, self.clock, self.grammars = scheduler, tools, clock, grammars
        self.default_temperature, self.call_format = default_temperature, call_format
        self._executor, self._api_runner, self._tokenizer = executor, api_runner, tokenizer
        self._eos_token_ids, self._late_predictor = frozenset(eos_token_ids), late_predictor
        self._max_model_len = scheduler.config.max_model_len
        self._live: dict[str, LiveRequest] = {}
        self._controlled: dict[str, LiveRequest] = {}  # those of them whose tokens are chosen by a program of its own
        self._ids = itertools.count()
        self._in_flight: Any = None
        self._wake_up = threading.Event()
        self.on_step: StepSink | None = None
        self.num_sampled_tokens = 0
        self._step_began_s = 0.0

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
    def executor(self) -> Executor:
        """Runs its plans."""
        return self._executor

    @property
    def num_unfinished(self) -> int:
        """Requests that have not ended."""
        return len(self._live)

    def outputs(self) -> list[RequestOutput]:
        """What the requests that have not ended have yielded so far."""
        return [live.output for live in self._live.values()]

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
            "cached_device_blocks": blocks.device.num_cached,
            "recomputed_tokens": self.scheduler.num_recomputed_tokens,
            "promoted_requests": self.scheduler.num_promoted,
            "steps": self.scheduler.num_steps,
            "sampled_tokens": self.num_sampled_tokens,
        } | self._paused_by_handling()

    def _paused_by_handling(self) -> dict[str, int]:
        paused = Counter(request.handling for request in tuple(self.scheduler.paused()))
        return {f"paused_{handling.value}": paused[handling] for handling in Handling}

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
            ValueError: If the prompt is empty, too long for the model's context, or not that of `fork_of`, or its constraint
                cannot be compiled.
        """
        request_id, now = request_id or f"request-{next(self._ids)}", self.clock()
        request = Request(
            request_id, now, list(prompt_token_ids), sampling,
            cache_salt=options.cache_salt, request_type=options.request_type, program_id=options.program_id, hints=options.hints,
            priority=options.priority, expected_output_tokens=options.expected_output_tokens,
        )  # fmt: skip
        if reader is None:
            reader = self._reader(request, options)
        output = RequestOutput(request_id, len(prompt_token_ids), Timestamps(now))
        live = LiveRequest(request, output, reader, on_event, options)
        live.begin_text(self.grammars, first=True)
        self.scheduler.add(request, fork_of=fork_of, answered_calls=options.answered_calls)
        self._live[request_id] = live
        if sampling.is_controlled:
            self._controlled[request_id] = live
        return request_id

    def _reader(self, request: Request, options: RequestOptions) -> TextStream:
        """What reads the tokens of a request as the model's text."""
        constraint = request.sampling.constraint
        may_call = options.recognise_calls and (constraint is None or constraint.kind == "lark")
        return TextStream(
            self.tokenizer.stream(request.token_ids),
            stop=request.sampling.stop,
            call_format=self.call_format,
            tools={**self.tools, **options.client_tools} if may_call else {},
            tokenizer=self.tokenizer,
            calls_first=constraint is not None,
        )

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
        now = self.clock()
        plan = self.scheduler.schedule(now)
        for chunk in plan.prefills:
            if (output := self._live[chunk.request_id].output).timestamps.scheduled_s is None:
                output.timestamps.scheduled_s = now
                self._live[chunk.request_id].on_event(Event("started", output))
        submitted = self._executor.submit(plan) if plan else None
        if self.on_step is not None and plan:
            self.on_step(plan, 0.0 if self._in_flight is None else now - self._step_began_s)
            self._step_began_s = now
        collected, self._in_flight = self._in_flight, submitted
        if collected is not None:
            result = self._executor.collect(collected)
            now = self.clock()
            live = self._live
            samples = self.scheduler.update(result, now)
            self.num_sampled_tokens += len(samples)
            for request, token_id in samples:
                try:
                    self._take_token(live[request.request_id], token_id, now, result.logprobs.get(request.request_id))
                except Exception as error:
                    self._fail(request.request_id, error)
        if self._controlled and submitted is not None:
            self._choose()
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

    def _choose(self) -> None:
        """Has the tokens chosen that the step just submitted samples of controlled requests, now that those before are known."""
        controls: list[Control] = []
        for live in controlled(self._controlled.values()):
            try:
                controls.append(live.control())
            except Exception as error:
                self._fail(live.output.request_id, error)
        if controls:
            self._in_flight = self._executor.choose(self._in_flight, controls)

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
        is_askers = isinstance(error, ConstraintFailed)
        if is_askers:
            logger.warning("%s ends with an error: %s", request_id, error)
        else:
            logger.exception("%s ends with an error", request_id)
        if live := self._live.get(request_id):
            live.output.error = str(error) if is_askers else f"the request failed ({type(error).__name__}: {error})"
            live.output.is_askers_fault = is_askers
            self._finish(live, FinishReason.ERROR)

    def _take_token(self, live: LiveRequest, token_id: int, now: float, logprob: SampledLogprob | None) -> None:
        request, output, sampling = live.request, live.output, live.request.sampling
        times, num_sampled = output.timestamps, request.num_sampled_tokens
        times.last_token_s = now
        if times.first_token_s is None:
            times.first_token_s = now
        if live.resumed is not None:
            live.resumed.resumed_s, live.resumed = now, None
        live.take(token_id, logprob)
        may_stop = num_sampled >= sampling.min_tokens
        if may_stop and token_id in sampling.stop_token_ids:
            self._end_turn(live)
            return
        step = live.reader.push(token_id, stop_allowed=may_stop)
        if step.text:
            self._show(live, step.text)
        if step.stopped:
            self._finish(live, FinishReason.STOP, flush=False)
        elif token_id in self._eos_token_ids and not sampling.ignore_eos:
            self._end_turn(live)
        elif num_sampled == sampling.max_tokens or len(request.token_ids) >= self._max_model_len:
            self._finish(live, FinishReason.LENGTH)
        elif step.call is not None:
            self._call(live, step.call, step.token_text)
        elif live.matcher is not None and live.matcher.is_over:
            self._end_turn(live, by_token=token_id in self._eos_token_ids)

    def _end_turn(self, live: LiveRequest, *, by_token: bool = True) -> None:
        """Ends a request whose model has ended its turn, with a token that says so or not, unless the end completes a call."""
        step = live.reader.flush()
        self._show(live, step.text)
        if step.call is not None:
            self._call(live, step.call, "", ends_turn=by_token)
        else:
            self._finish(live, FinishReason.STOP, flush=False)

    def _show(self, live: LiveRequest, text: str) -> None:
        if text:
            live.output.text += text
            live.on_event(Event("text", live.output, text=text, logprobs=live.take_unshown_logprobs()))

    def _call(self, live: LiveRequest, written: WrittenCall, token_text: str, *, ends_turn: bool = False) -> None:
        """Leaves a call to the client if it is the client's; otherwise takes the request out of the batch and starts the tool."""
        output, config = live.output, self.scheduler.config
        read = read_call(live, written, self.tools, now=self.clock(), max_calls=config.max_calls)
        if live.has_client_calls and not read.call.is_clients:  # which have to return before anything else is run
            self._finish(live, FinishReason.TOOL_CALLS)
            return
        if not read.call.is_clients and live.request.num_sampled_tokens >= live.request.max_sampled_tokens:
            self._finish(live, FinishReason.LENGTH)  # the end of the turn has completed it, and no token is left for what follows
            return
        output.calls.append(read.call)
        if not read.call.is_clients:
            self._pause(live, read, written, token_text, ends_turn=ends_turn)
            return
        live.on_event(Event("call", output, call=read.call, logprobs=live.take_unshown_logprobs()))
        parallel = live.options.parallel_calls and self.call_format.allows_parallel
        if ends_turn or not parallel or len(output.calls) >= config.max_calls:
            self._finish(live, FinishReason.TOOL_CALLS)
            return
        step = live.reader.go_on(written)
        self._show(live, step.text)
        if step.stopped or (step.call is None and live.matcher is not None and live.matcher.is_over):
            self._finish(live, FinishReason.TOOL_CALLS)
        elif step.call is not None:
            self._call(live, step.call, step.token_text)

    def _pause(self, live: LiveRequest, read: ReadCall, written: WrittenCall, token_text: str, *, ends_turn: bool) -> None:
        """Takes a request out of the batch and starts the tool that it has called, or tells it at once what is wrong."""
        call, request_id = read.call, live.output.request_id
        expected_s = 0.0 if read.problem else self._expected_s(live, call.name)
        call.expected_s = None if read.problem else expected_s
        call.handling = self.scheduler.api_called(request_id, self.clock(), expected_s, tool=call.name)
        if ends_turn:
            self.scheduler.replace_last_token(request_id, [])  # the end of the turn, behind which the result could not stand
        elif written.surplus:
            kept = token_text.removesuffix(written.surplus).lstrip("\N{REPLACEMENT CHARACTER}")  # bytes of an earlier token
            self.scheduler.replace_last_token(request_id, self.tokenizer.encode_text(kept))
        live.on_event(Event("call", live.output, call=call, logprobs=live.take_unshown_logprobs()))
        if read.problem or read.tool is None:
            self._resume(ApiOutcome(request_id, read.problem or "", failed=True, duration_s=0.0))
            return
        state = {"state": live.tool_state.setdefault(call.name, {})} if read.tool.stateful else {}
        self._api_runner.start(request_id, read.tool, {**call.arguments, **state})

    def _resume(self, outcome: ApiOutcome) -> None:
        """Gives a request the result of its call and queues it again."""
        live = self._live.get(outcome.request_id)
        if live is None:
            return
        call = live.output.calls[-1]
        call.result, call.failed, call.duration_s = outcome.result, outcome.failed, outcome.duration_s
        call.returned_s, live.resumed = self.clock(), call
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
        live.begin_text(self.grammars, first=False)
        self.scheduler.api_returned(outcome.request_id, token_ids, self.clock())

    def _finish(self, live: LiveRequest, reason: FinishReason, *, flush: bool = True) -> None:
        request_id = live.output.request_id
        if flush and reason in (FinishReason.STOP, FinishReason.LENGTH) and not live.owes_call:
            self._show(live, live.reader.flush().text)
        if live.has_client_calls and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS
        if live.request.state is RequestState.IN_API_CALL:
            self._api_runner.cancel(request_id)
        if reason is FinishReason.TOOL_CALLS and not live.options.ends_program:
            self._await_client(live)
        else:
            self.scheduler.finish(request_id, reason, self.clock())
        if self._late_predictor is not None:
            self._late_predictor.forget(request_id)
        del self._live[request_id]
        self._controlled.pop(request_id, None)
        live.output.finish_reason = reason
        live.output.num_cached_prompt_tokens = live.request.num_cached_prompt_tokens
        live.output.timestamps.finished_s = self.clock()
        live.on_event(Event("finished", live.output, logprobs=live.take_unshown_logprobs()))

    def _await_client(self, live: LiveRequest) -> None:
        """Ends a request whose client is to run its last calls, and keeps what it has computed as during a call."""
        awaited = awaited_calls(live)
        handling = self.scheduler.client_called(live.output.request_id, self.clock(), awaited)
        for call in live.output.calls:
            if call.is_clients:
                call.handling, call.expected_s = handling, awaited.expected_s

    def _expected_s(self, live: LiveRequest, tool: str) -> float | None:
        """How long a call of a tool is expected to take: by who asks, or by what others took."""
        hint = live.options.expected_call_s.get(tool)
        return self.scheduler.call_history.expected_s(tool) if hint is None else hint
