"""The engine on a thread of its own, behind asyncio."""

import asyncio
import copy
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.engine.options import NO_OPTIONS, RequestOptions
from lamps_jax.sched.request import Constraint, SamplingParams

logger = logging.getLogger(__name__)

T = TypeVar("T")

IndexedEvent = tuple[int, Event]
"""The index of a prompt in its submission, and an event of the request made of it."""


class EngineUnavailable(RuntimeError):
    """Raised where the engine has failed or was stopped; the message says why."""


class Watch(Protocol):
    """Hears what becomes of prompts that were submitted together, also when nobody iterates over their events any more."""

    def begun(self, stop: Callable[[Exception], None]) -> None:
        """They are handed over. `stop` aborts those that have not ended, and has the iteration raise its argument.

        Both are for the event loop.
        """
        ...

    def added(self, request_id: str) -> None:
        """The engine has taken one of them; on its thread."""
        ...

    def heard(self, event: Event) -> None:
        """One of them has started, called a tool, has its result, or has ended; on the engine's thread, and not to raise."""
        ...


@dataclass(slots=True, eq=False)
class _Submission:
    """Prompts that came together. What follows `only_ends` belongs to the engine's thread; `inbox` is read on the loop."""

    prompts: Sequence[tuple[list[int], SamplingParams]]
    options: RequestOptions
    loop: asyncio.AbstractEventLoop
    watch: Watch | None = None
    only_ends: bool = False
    inbox: asyncio.Queue[IndexedEvent | Exception] = field(default_factory=asyncio.Queue)
    request_ids: list[str] = field(default_factory=list)
    num_finished: int = 0


class AsyncEngine:
    """Runs an engine until `stop`; requests come from any event loop. Nobody else may touch the engine meanwhile.

    Args:
        on_finished: Told the prompt and the output of each request that has ended, on the engine's thread; must return soon and
            not raise.

    Attributes:
        tokenizer: A copy for the callers: a tokenizer is not to be used from two threads.
        max_model_len: Tokens of context.
        vocab_size: Token ids are below it.
        default_temperature: Of requests that give none.
        tools: Those that the server runs.
        call_format: The form in which the model writes calls.
    """

    def __init__(
        self, engine: Engine, *, on_finished: Callable[[list[int], RequestOutput], object] = lambda prompt, output: None
    ):
        self.tokenizer = copy.deepcopy(engine.tokenizer)
        self.max_model_len = engine.scheduler.config.max_model_len
        self.vocab_size = self.tokenizer.vocab_size
        self.default_temperature = engine.default_temperature
        self.tools, self.call_format = engine.tools, engine.call_format
        self._engine, self._on_finished = engine, on_finished
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._submissions: set[_Submission] = set()
        self._outbox: list[tuple[_Submission, IndexedEvent | Exception]] = []
        self._lock = threading.Lock()  # guards `_closed`: no command is queued after it is set
        self._closed: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether requests are taken."""
        return self._closed is None

    @property
    def failure(self) -> str | None:
        """Why no more requests are taken; None while they are."""
        return self._closed

    def generate(
        self,
        prompts: Sequence[tuple[list[int], SamplingParams]],
        options: RequestOptions = NO_OPTIONS,
        *,
        watch: Watch | None = None,
        only_ends: bool = False,
    ) -> AsyncGenerator[list[IndexedEvent], None]:
        """The events of all `prompts` as they happen, as many at a time as there are, until each has finished.

        The requests start with the first iteration. Closing the iterator, or cancelling the task that waits for it, aborts those
        that have not finished: their blocks are free within a step. An event's `call` is a copy; its `output` may be read only
        once the event's kind is ``finished``.

        Args:
            options: As for `Engine.add`, of every prompt.
            watch: Hears of them too, and can stop them.
            only_ends: Whether of each prompt the end alone is wanted, so that nobody is woken for tokens of a reply sent whole.

        Raises:
            EngineUnavailable: At once or while iterating, if the engine has failed or was stopped.
            ValueError: While iterating, if a prompt is empty or too long.
        """
        if self._closed is not None:
            raise EngineUnavailable(self._closed)
        return self._generate(prompts, options, watch, only_ends)

    @property
    def num_free_places(self) -> int:
        """Requests that the batch still has a place for, as of now."""
        scheduler = self._engine.scheduler
        return max(0, scheduler.config.max_num_seqs - scheduler.num_running)

    def memory_state(self) -> dict[str, int]:
        """As `Engine.memory_state`."""
        return self._engine.memory_state()

    def check_constraint(self, constraint: Constraint) -> None:
        """Compiles a constraint, so that it will be there when it is wanted; takes a while.

        Raises:
            ValueError: If it cannot be compiled; the message says why.
        """
        if self._engine.grammars is None:
            raise ValueError("this engine cannot keep text to a grammar")
        self._engine.grammars.start(constraint)

    def ask(self, question: Callable[[Engine], T]) -> T:
        """What `question` says of the engine between two steps, or once it has ended; the engine's own thread may not ask."""
        answer = Future[T]()

        def put() -> None:
            try:
                answer.set_result(question(self._engine))
            except BaseException as error:  # it is for whoever has asked
                answer.set_exception(error)

        if self._command(put):
            return answer.result()
        self._thread.join()
        return question(self._engine)

    def stop(self) -> None:
        """Ends what is running with an error and returns once the thread has ended."""
        self._stopping = True
        self._engine.wake_up()
        self._thread.join()

    async def _generate(
        self,
        prompts: Sequence[tuple[list[int], SamplingParams]],
        options: RequestOptions,
        watch: Watch | None,
        only_ends: bool,
    ) -> AsyncGenerator[list[IndexedEvent], None]:
        submission = _Submission(prompts, options, asyncio.get_running_loop(), watch, only_ends)
        if not self._command(lambda: self._begin(submission)):
            raise EngineUnavailable(self._closed)
        if watch is not None:
            watch.begun(lambda error: self._stop_submission(submission, error))
        num_unfinished = len(prompts)
        try:
            while num_unfinished:
                items = [await submission.inbox.get(), *(submission.inbox.get_nowait() for _ in range(submission.inbox.qsize()))]
                arrived = list[IndexedEvent]()
                for item in items:
                    if isinstance(item, Exception):
                        break
                    arrived.append(item)
                num_unfinished -= sum(event.kind == "finished" for _, event in arrived)
                if arrived:
                    yield arrived
                if len(arrived) < len(items) and isinstance(failure := items[len(arrived)], Exception):
                    raise failure
        finally:
            if num_unfinished:
                self._command(lambda: self._abort(submission))

    def _command(self, command: Callable[[], None]) -> bool:
        """Has `command` run on the engine's thread before its next step; False if the thread takes no more."""
        with self._lock:
            if self._closed is not None:
                return False
            self._commands.put(command)
        self._engine.wake_up()
        return True

    def _stop_submission(self, submission: _Submission, error: Exception) -> None:
        self._command(lambda: self._abort(submission))
        submission.inbox.put_nowait(error)

    # What follows runs on the engine's thread.

    def _run(self) -> None:
        reason = "the engine was stopped"
        try:
            while not self._stopping:
                self._run_commands()
                worked = self._engine.step()
                self._deliver()
                if not worked:
                    self._engine.wait()
        except BaseException as error:  # whatever it was, those who wait must hear of it
            logger.critical("the engine failed; the server takes no more requests", exc_info=True)
            reason = f"the engine failed ({type(error).__name__}: {error}); restart the server"
        self._close(reason)

    def _close(self, reason: str) -> None:
        with self._lock:
            self._closed = reason
        last_acts = [self._commands.get() for _ in range(self._commands.qsize())]
        for act in (*last_acts, lambda: self._engine.fail_all(reason)):
            try:
                act()
            except Exception:
                logger.exception("the failed engine could not end its requests")
        for submission in list(self._submissions):
            self._end(submission, EngineUnavailable(reason))
        self._deliver()

    def _run_commands(self) -> None:
        while not self._commands.empty():
            self._commands.get()()

    def _begin(self, submission: _Submission) -> None:
        self._submissions.add(submission)
        try:
            if self._closed is not None:
                raise EngineUnavailable(self._closed)
            first = dict[tuple[int, ...], str]()  # the first request of each prompt, whose blocks the others share
            for index, (token_ids, sampling) in enumerate(submission.prompts):
                request_id = self._engine.add(
                    token_ids,
                    sampling,
                    on_event=lambda event, index=index: self._take_event(submission, index, event),
                    options=submission.options,
                    fork_of=first.get(tuple(token_ids)),
                )
                first.setdefault(tuple(token_ids), request_id)
                if submission.watch is not None:
                    submission.watch.added(request_id)
                submission.request_ids.append(request_id)
        except (ValueError, EngineUnavailable) as error:
            self._end(submission, error)
            for request_id in submission.request_ids:
                self._engine.abort(request_id)

    def _abort(self, submission: _Submission) -> None:
        self._submissions.discard(submission)
        for request_id in submission.request_ids:
            self._engine.abort(request_id)

    def _take_event(self, submission: _Submission, index: int, event: Event) -> None:
        if event.kind == "finished":
            self._on_finished(submission.prompts[index][0], event.output)
        if submission.watch is not None and event.kind != "text":
            submission.watch.heard(event)
        is_wanted = event.kind == "finished" if submission.only_ends else event.kind != "started"
        if not is_wanted or submission not in self._submissions:  # in which nobody listens any more
            return
        if event.call is not None:
            event = replace(event, call=replace(event.call))
        self._outbox.append((submission, (index, event)))
        submission.num_finished += event.kind == "finished"
        if submission.num_finished == len(submission.prompts):
            self._submissions.remove(submission)

    def _end(self, submission: _Submission, error: Exception) -> None:
        self._submissions.discard(submission)
        self._outbox.append((submission, error))

    def _deliver(self) -> None:
        """Hands the events of a step over, waking each event loop once."""
        outbox, self._outbox = self._outbox, []
        for loop in {submission.loop for submission, _ in outbox}:
            batch = [(submission.inbox, item) for submission, item in outbox if submission.loop is loop]
            try:
                loop.call_soon_threadsafe(_put_all, batch)
            except RuntimeError:  # the loop is closed, and with it those who waited
                logger.debug("events for a closed event loop were dropped")


def _put_all(batch: list[tuple[asyncio.Queue[IndexedEvent | Exception], IndexedEvent | Exception]]) -> None:
    for inbox, item in batch:
        inbox.put_nowait(item)
