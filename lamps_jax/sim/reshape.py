"""Scripts made from scripts: the derived sets of the papers, and lengths that fit a smaller machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload, context_after


@dataclass(frozen=True, slots=True)
class Shape:
    """What becomes of a workload's scripts, in this order.

    Attributes:
        single_api: Of each script only the first call stays; see `single_api`.
        trailing_calls: Whether a call that ends a script stays; 184 of the 397 requests of InferCept's mixture end in one.
        token_scale: Multiplies all lengths.
        duration_scale: Multiplies the durations of calls.
        max_context_tokens: Scripts are cut to it; see `capped`. None leaves them.
    """

    single_api: bool = False
    trailing_calls: bool = True
    token_scale: float = 1.0
    duration_scale: float = 1.0
    max_context_tokens: int | None = None

    def apply(self, workload: Workload) -> Workload:
        """The workload in this shape; its arrival times stay."""
        changes: list[Callable[[Script], Script]] = []
        if self.single_api:
            changes.append(single_api)
        if not self.trailing_calls:
            changes.append(without_trailing_call)
        if (self.token_scale, self.duration_scale) != (1.0, 1.0):
            changes.append(lambda script: scaled(script, tokens=self.token_scale, durations=self.duration_scale))
        if self.max_context_tokens is not None:
            most = self.max_context_tokens
            changes.append(lambda script: capped(script, most))
        scripts = workload.scripts
        for change in changes:
            scripts = tuple(change(script) for script in scripts)
        return replace(workload, scripts=scripts)


def single_api(script: Script) -> Script:
    """The first segment, its call, and the second segment with its call removed; a script without a second segment stays.

    Source: so is the "Single-API" set of LAMPS derived from InferCept's mixture, every request of it.
    """
    if len(script.segments) < 2:
        return script
    first, second = script.segments[:2]
    return replace(script, segments=(first, replace(second, call=None)))


def without_trailing_call(script: Script) -> Script:
    """The script without the call that it ends in, if it ends in one."""
    return replace(script, segments=(*script.segments[:-1], replace(script.segments[-1], call=None)))


def without_calls(script: Script) -> Script:
    """One segment that generates what all segments do, and no call.

    Source: the requests without calls in LAMPS's mixed workload are requests of Multi-API whose calls are disabled.
    """
    return replace(script, segments=(Segment(script.num_generated_tokens),))


def capped(script: Script, max_context_tokens: int) -> Script:
    """The script cut so that its context never has more than `max_context_tokens`.

    A prompt leaves room for one token; what is generated stops at the limit, and with it the script; a server's call returns what
    leaves room for one token more; a session ends before the turn whose prompt would not leave that room.

    Source: max_model_len of the released codes, which cut a returned text one token later and so end at 2,049 of 2,048 tokens.

    Raises:
        ValueError: If `max_context_tokens` has no room for a prompt and one generated token.
    """
    if max_context_tokens < 2:
        raise ValueError(f"max_context_tokens must have room for a prompt and a token, so 2 or more, got {max_context_tokens}")
    if script.max_context_tokens <= max_context_tokens:
        return script
    prompt = _first_tokens(script.prompt, max_context_tokens - 1)
    context, segments = sum(span.num_tokens for span in prompt), []
    for segment in script.segments:
        num_generated = min(segment.num_generated_tokens, max_context_tokens - context)
        context += num_generated
        call = None if context == max_context_tokens else _capped_call(segment.call, context, max_context_tokens)
        segments.append(Segment(num_generated, call))
        if call is None:
            break
        context = context_after(context, call)
    return replace(script, prompt=prompt, segments=tuple(segments))


def _capped_call(call: Call | None, context: int, max_context_tokens: int) -> Call | None:
    if call is None:
        return None
    if call.num_kept_tokens is not None:
        # A prompt that was cut short has fewer tokens to keep than the script says.
        call = replace(call, num_kept_tokens=min(call.num_kept_tokens, context))
    if call.run_by is RunBy.CLIENT:
        return call if context_after(context, call) < max_context_tokens else None
    return replace(call, num_returned_tokens=min(call.num_returned_tokens, max_context_tokens - context - 1))


def _first_tokens(spans: tuple[Span, ...], num_tokens: int) -> tuple[Span, ...]:
    first: list[Span] = []
    for span in spans:
        if num_tokens <= 0:
            break
        first.append(replace(span, num_tokens=min(span.num_tokens, num_tokens)))
        num_tokens -= span.num_tokens
    return tuple(first)


def scaled(script: Script, *, tokens: float = 1.0, durations: float = 1.0) -> Script:
    """The script with every length and every duration multiplied, for machines and models smaller than the trace's.

    Lengths are rounded; nothing that has a token loses its last one.

    Raises:
        ValueError: If a factor is not positive.
    """
    if not (tokens > 0 and durations > 0):
        raise ValueError(f"factors must be positive, got tokens={tokens} and durations={durations}")

    def times(count: int, least: int) -> int:
        return max(least, round(count * tokens))

    prompt = tuple(replace(span, num_tokens=times(span.num_tokens, 1)) for span in script.prompt)
    context, segments = sum(span.num_tokens for span in prompt), []
    for segment in script.segments:
        num_generated, call = times(segment.num_generated_tokens, 1), segment.call
        context += num_generated
        if call is not None:
            kept = call.num_kept_tokens
            call = replace(
                call,
                duration_s=call.duration_s * durations,
                num_returned_tokens=times(call.num_returned_tokens, min(1, call.num_returned_tokens)),
                num_kept_tokens=None if kept is None else min(context, times(kept, min(1, kept))),
            )
            context = context_after(context, call)
        predicted = segment.predicted_tokens
        segments.append(Segment(num_generated, call, None if predicted is None else predicted * tokens))
    return replace(script, prompt=prompt, segments=tuple(segments))
