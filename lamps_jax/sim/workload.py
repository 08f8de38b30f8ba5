"""What a workload is: scripts of requests, which say how long everything is and nothing of what it means.

A `Script` is all that one client asks for: a prompt, then segments of generated tokens with an API call between each two. The
call is run by the server (the request pauses and goes on) or by the client (the reply ends there; after the call the client sends
a new request whose prompt begins with the old one's tokens). `Script.turns` gives the requests that the server sees.
"""

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace


class RunBy(enum.Enum):
    """Who runs an API call."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a prompt.

    Attributes:
        num_tokens: Its length.
        key: Names its content: two spans of one key hold the same tokens, position by position, as far as both go. None: the
            content is this arrival's own, and no other prompt holds it.
    """

    num_tokens: int
    key: str | None = None

    def __post_init__(self) -> None:
        _check_count("num_tokens", self.num_tokens, least=1)


@dataclass(frozen=True, slots=True)
class Call:
    """An API call and what it brings back.

    Attributes:
        name: Of the API: calls of one name are alike, and an estimate may be kept for them.
        duration_s: From the call to its return.
        num_returned_tokens: Appended to the context. When the client runs the call, whatever its next prompt adds.
        num_kept_tokens: Leading tokens of the context that the client's next prompt begins with; None keeps all. Fewer are kept
            when the client drops thoughts or compacts its history. The server keeps all.
    """

    name: str
    duration_s: float
    num_returned_tokens: int
    run_by: RunBy = RunBy.SERVER
    num_kept_tokens: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s >= 0):
            raise ValueError(f"duration_s must be a finite number of seconds, 0 or more, got {self.duration_s!r}")
        _check_count("num_returned_tokens", self.num_returned_tokens, least=0)
        if self.num_kept_tokens is not None:
            if self.run_by is RunBy.SERVER:
                raise ValueError(f"only a call that the client runs may drop context, got num_kept_tokens={self.num_kept_tokens}")
            _check_count("num_kept_tokens", self.num_kept_tokens, least=0)


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens that the model generates, and the call that they end in; None where they end the request.

    Attributes:
        predicted_tokens: How many a length predictor expects before they begin; None where none was asked.
    """

    num_generated_tokens: int
    call: Call | None = None
    predicted_tokens: float | None = None

    def __post_init__(self) -> None:
        _check_count("num_generated_tokens", self.num_generated_tokens, least=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request as the server sees it.

    Attributes:
        wait_s: From the end of the turn before to the client's sending of this one.
        num_kept_tokens: Leading tokens of the turn before, its prompt and all that followed, which this prompt begins with.
        added: What the prompt has behind them.
        segments: All but the last end in calls that the server runs; the last one ends the request.
        client_call: What the client does with the reply; None if this is the last turn.
    """

    wait_s: float
    num_kept_tokens: int
    added: tuple[Span, ...]
    segments: tuple[Segment, ...]
    client_call: Call | None = None

    @property
    def num_prompt_tokens(self) -> int:
        """Length of the whole prompt that the client sends."""
        return self.num_kept_tokens + sum(span.num_tokens for span in self.added)

    @property
    def num_generated_tokens(self) -> int:
        """Tokens that the turn samples; what calls return does not count."""
        return sum(segment.num_generated_tokens for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Script:
    """All that one client asks for.

    Attributes:
        request_type: Requests of one type are alike; statistics and estimates are kept by it.
        prompt: Of the first turn.
        segments: Only the last may lack a call. If it has one, one token more is generated after the return, as a request cannot
            end in a call (so do the released codes of InferCept and of LAMPS).
        session_id: Names the client's session in the trace; "" where there is none.
    """

    request_type: str
    prompt: tuple[Span, ...]
    segments: tuple[Segment, ...]
    session_id: str = ""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("a script needs a prompt of at least one token, got none")
        if not self.segments:
            raise ValueError("a script needs at least one segment, got none")
        for number, segment in enumerate(self.segments[:-1]):
            if segment.call is None:
                raise ValueError(f"only the last of {len(self.segments)} segments may lack a call, segment {number} has none")
        for context, call in self.contexts_at_calls():
            if call.num_kept_tokens is not None and call.num_kept_tokens > context:
                raise ValueError(f"a client cannot keep {call.num_kept_tokens} tokens of a context of {context}")
            if context_after(context, call) == 0:
                raise ValueError("a client must keep or add a token for its next prompt, got none of either")

    @property
    def num_prompt_tokens(self) -> int:
        """Of the first turn."""
        return sum(span.num_tokens for span in self.prompt)

    @property
    def num_generated_tokens(self) -> int:
        """Over all segments; the token after a call that ends the script is not among them."""
        return sum(segment.num_generated_tokens for segment in self.segments)

    @property
    def calls(self) -> tuple[Call, ...]:
        """In order."""
        return tuple(segment.call for segment in self.segments if segment.call is not None)

    def contexts_at_calls(self) -> Iterator[tuple[int, Call]]:
        """Tokens of the context when each call is made, and the call."""
        context = self.num_prompt_tokens
        for segment in self.segments:
            context += segment.num_generated_tokens
            if segment.call is not None:
                yield context, segment.call
                context = context_after(context, segment.call)

    @property
    def num_final_tokens(self) -> int:
        """Tokens of the context at the end."""
        context = self.num_prompt_tokens
        for segment in self.segments:
            context += segment.num_generated_tokens
            if segment.call is not None:
                context = context_after(context, segment.call)
        return context

    @property
    def max_context_tokens(self) -> int:
        """Most tokens that the context ever has, the one after a call that ends the script included."""
        final = self.num_final_tokens + (self.segments[-1].call is not None)
        return max(final, *(context for context, _ in self.contexts_at_calls())) if self.calls else final

    def turns(self) -> tuple[Turn, ...]:
        """The requests that the server sees, in order; each but the first is sent when the one before has ended, and its wait."""
        segments = self.segments
        if segments[-1].call is not None:
            segments = (*segments, Segment(1))
        turns: list[Turn] = []
        context, sent, wait_s, kept, added = self.num_prompt_tokens, [], 0.0, 0, self.prompt
        for segment in segments:
            context += segment.num_generated_tokens
            call = segment.call
            if call is None or call.run_by is RunBy.CLIENT:
                turns.append(Turn(wait_s, kept, added, (*sent, replace(segment, call=None)), call))
                sent = []
            else:
                sent.append(segment)
            if call is not None:
                if call.run_by is RunBy.CLIENT:
                    wait_s, kept = call.duration_s, context if call.num_kept_tokens is None else call.num_kept_tokens
                    added = (Span(call.num_returned_tokens),) if call.num_returned_tokens else ()
                context = context_after(context, call)
        return tuple(turns)


def context_after(context: int, call: Call) -> int:
    """Tokens of the context once a call that was made at `context` tokens has returned."""
    return (context if call.num_kept_tokens is None else call.num_kept_tokens) + call.num_returned_tokens


@dataclass(frozen=True, slots=True)
class Arrival:
    """A script that begins at some time.

    Attributes:
        index: Rank among the arrivals of a run, from 0. Content that no span names is the arrival's own, known by it.
    """

    time_s: float
    script: Script
    index: int


@dataclass(frozen=True, slots=True)
class Workload:
    """Scripts to draw from.

    Attributes:
        name: Of the generator or of the file.
        scripts: In the order of the trace.
        times_s: When each script arrived in the trace, ascending from 0; empty where the trace does not say.
        num_left_out: Entries of the trace that are no requests, such as failed ones.
    """

    name: str
    scripts: tuple[Script, ...]
    times_s: tuple[float, ...] = field(default=(), repr=False)
    num_left_out: int = 0

    def __post_init__(self) -> None:
        if not self.scripts:
            raise ValueError(f"workload {self.name!r} has no script")
        if self.times_s and len(self.times_s) != len(self.scripts):
            raise ValueError(f"workload {self.name!r} has {len(self.scripts)} scripts and {len(self.times_s)} arrival times")
        if any(later < earlier for earlier, later in zip((0.0, *self.times_s), self.times_s, strict=False)):
            raise ValueError(f"arrival times of workload {self.name!r} must ascend from 0")


def _check_count(name: str, value: int, *, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
