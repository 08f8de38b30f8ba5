"""An engine that yields the events a test feeds it, and remembers what it was asked."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lamps_jax.engine.events import ApiCall, Event, RequestOutput, TokenLogprob
from lamps_jax.engine.options import NO_OPTIONS, RequestOptions
from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import Constraint, FinishReason, SamplingParams
from lamps_jax.serve.async_engine import IndexedEvent
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.tool import Tool
from tests.fakes import make_tokenizer

Play = Callable[[int, SamplingParams], list[Event]]
"""The events of the request of that index."""


class FedEngine:
    """Stands where the server has its `AsyncEngine`.

    Args:
        refusal: With which every constraint is refused; None takes all.

    Attributes:
        asked: The prompts and options of every submission.
        checked: The constraints that were to be compiled.
    """

    def __init__(
        self, play: Play, *, tools: Mapping[str, Tool] | None = None, refusal: str | None = None, call_format: Any = INLINE
    ):
        self.tokenizer = make_tokenizer()
        self.max_model_len, self.vocab_size, self.default_temperature = 512, self.tokenizer.vocab_size, 0.0
        self.tools = {CALCULATOR.name: CALCULATOR} if tools is None else tools
        self.call_format, self.failure, self.num_free_places = call_format, None, 8
        self.asked: list[tuple[Sequence[tuple[list[int], SamplingParams]], RequestOptions]] = []
        self.checked: list[Constraint] = []
        self._play, self._refusal = play, refusal

    def check_constraint(self, constraint: Constraint) -> None:
        self.checked.append(constraint)
        if self._refusal is not None:
            raise ValueError(self._refusal)

    def memory_state(self) -> dict[str, int]:
        return {}

    def generate(
        self,
        prompts: Sequence[tuple[list[int], SamplingParams]],
        options: RequestOptions = NO_OPTIONS,
        *,
        watch: Any = None,
        only_ends: bool = False,
    ) -> AsyncGenerator[list[IndexedEvent], None]:
        self.asked.append((prompts, options))
        return self._events(prompts, only_ends)

    async def _events(
        self, prompts: Sequence[tuple[list[int], SamplingParams]], only_ends: bool
    ) -> AsyncGenerator[list[IndexedEvent], None]:
        plays = [self._play(index, sampling) for index, (_, sampling) in enumerate(prompts)]
        for place in range(max(map(len, plays))):  # in turns, as the requests of one batch
            for index, events in enumerate(plays):
                if place < len(events) and (events[place].kind == "finished" or not only_ends):
                    yield [(index, events[place])]

    def stop(self) -> None:
        pass


def play(
    *parts: str | ApiCall, finish: FinishReason = FinishReason.STOP, num_logprobs: int | None = None, cached: int = 0
) -> list[Event]:
    """Events of a reply of `parts`: text, a token a byte, or calls.

    A token has the log-probability -0.5, and of the likeliest the one before it in the vocabulary has -1.5, and so on.
    """
    tokenizer = make_tokenizer()
    output = RequestOutput("r", 7, Timestamps(0.0, 1.0, 2.0, 3.0), num_cached_prompt_tokens=cached)
    events: list[Event] = []
    for part in parts:
        if isinstance(part, ApiCall):
            output.calls.append(part)
            events.append(Event("call", output, call=part))
            if part.result is not None:
                events[-1] = Event("call", output, call=replace(part, result=None, duration_s=None))
                events.append(Event("result", output, call=part))
            continue
        token_ids = tokenizer.encode_text(part)
        logprobs = tuple(_logprob(token_id, num_logprobs) for token_id in token_ids) if num_logprobs is not None else ()
        output.token_ids += token_ids
        output.logprobs += logprobs
        output.text += part
        events.append(Event("text", output, text=part, logprobs=logprobs))
    last = ()
    if finish is FinishReason.STOP:
        end = tokenizer.vocab_size - 1
        output.token_ids.append(end)
        last = (_logprob(end, num_logprobs),) if num_logprobs is not None else ()
        output.logprobs += last
    output.finish_reason = finish
    return [*events, Event("finished", output, logprobs=last)]


def _logprob(token_id: int, count: int) -> TokenLogprob:
    return TokenLogprob(token_id, -0.5, tuple((token_id - place, -0.5 - place) for place in range(count)))
