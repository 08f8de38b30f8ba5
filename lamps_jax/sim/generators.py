"""Workloads made from published statistics, for whoever has no trace at hand.

Script number i of a workload is drawn from ``Random(f"{name}/{seed}/{i}")`` alone: a longer workload begins with the shorter one,
and every quantity takes one uniform number, so that parameters can be changed one at a time. Quantities of a request are drawn
independently of each other; in the traces they are not quite: a math problem with one call, say, ends with a longer segment.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from lamps_jax.sim.distributions import draw, draw_tokens
from lamps_jax.sim.profiles import AGENT, MULTI_API, SINGLE_API, TOOLBENCH, Phase, Profile
from lamps_jax.sim.reshape import capped, without_calls
from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, Workload


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What can be asked of a generator.

    Attributes:
        duration_spread: Multiplies the deviation of call durations within a type; their mean stays, their limits go.
        length_spread: The same for the lengths of prompts, segments and returns.
        non_api_share: Share of requests whose calls are disabled.
        common_prompt_share: Leading share of each prompt that all requests of its type have in common, as few-shot examples and
            tool descriptions are. The papers' engines find no prefixes, so nothing is published about it. Agents have their own.
        max_context_tokens: Scripts are cut to it; None leaves them, so that some may fit nowhere.

    Raises:
        ValueError: If a spread is not positive, or a share not one.
    """

    duration_spread: float = 1.0
    length_spread: float = 1.0
    non_api_share: float = 0.0
    common_prompt_share: float = 0.0
    max_context_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("duration_spread", "length_spread"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive factor, got {value!r}")
        for name in ("non_api_share", "common_prompt_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value!r}")


Make = Callable[[Random, GeneratorOptions], Script]
"""Draws one script."""


def generate(name: str, make: Make, num_scripts: int, *, seed: int, options: GeneratorOptions) -> Workload:
    """A workload of `num_scripts` scripts.

    Raises:
        ValueError: If there is to be no script.
    """
    if num_scripts < 1:
        raise ValueError(f"num_scripts must be at least 1, got {num_scripts}")
    scripts = []
    for number in range(num_scripts):
        rng = Random(f"{name}/{seed}/{number}")
        has_calls = rng.random() >= options.non_api_share
        script = make(rng, options)
        script = script if has_calls else without_calls(script)
        scripts.append(script if options.max_context_tokens is None else capped(script, options.max_context_tokens))
    return Workload(name, tuple(scripts))


def make_single_api(rng: Random, options: GeneratorOptions) -> Script:
    """One request of LAMPS's Single-API."""
    return _from_profile(_choose(SINGLE_API, rng), rng, options)


def make_multi_api(rng: Random, options: GeneratorOptions) -> Script:
    """One request of InferCept's mixture."""
    return _from_profile(_choose(MULTI_API, rng), rng, options)


def _choose(profiles: Sequence[Profile], rng: Random) -> Profile:
    cumulated = list(accumulate(profile.weight for profile in profiles))
    place = rng.random() * cumulated[-1]
    return next(profile for profile, most in zip(profiles, cumulated, strict=True) if place < most)


def _from_profile(profile: Profile, rng: Random, options: GeneratorOptions) -> Script:
    prompt = draw_tokens(profile.prompt.spread(options.length_spread), rng)
    phases = profile.round * round(draw(profile.num_rounds, rng))
    segments = [_segment(phase, rng, options) for phase in phases]
    if profile.first_generated is not None:
        num_generated = draw_tokens(profile.first_generated.spread(options.length_spread), rng)
        segments[0] = replace(segments[0], num_generated_tokens=num_generated)
    if profile.last_generated is not None:
        segments.append(Segment(draw_tokens(profile.last_generated.spread(options.length_spread), rng)))
    script = Script(profile.request_type, _prompt(prompt, profile.request_type, options), tuple(segments))
    return script if profile.final_tokens is None else _filled_up(script, profile.final_tokens)


def _prompt(num_tokens: int, request_type: str, options: GeneratorOptions) -> tuple[Span, ...]:
    num_common = round(num_tokens * options.common_prompt_share)
    spans = ((num_common, request_type), (num_tokens - num_common, None))
    return tuple(Span(length, key) for length, key in spans if length)


def _segment(phase: Phase, rng: Random, options: GeneratorOptions) -> Segment:
    num_generated = draw_tokens(phase.generated.spread(options.length_spread), rng)
    duration_s = draw(phase.duration_s.spread(options.duration_spread), rng)
    num_returned = draw_tokens(phase.returned.spread(options.length_spread), rng, least=0)
    return Segment(num_generated, Call(phase.call, duration_s, num_returned))


def _filled_up(script: Script, final_tokens: int) -> Script:
    """The script whose calls return so much, in the proportions drawn, that the context ends with `final_tokens`."""
    drawn = list(accumulate(call.num_returned_tokens + 1 for call in script.calls))
    room = max(0, final_tokens - script.num_prompt_tokens - script.num_generated_tokens)
    until = [0, *(round(room * part / drawn[-1]) for part in drawn)]
    segments = [
        replace(segment, call=replace(segment.call, num_returned_tokens=after - before)) if segment.call else segment
        for segment, before, after in zip(script.segments, until, until[1:], strict=False)
    ]
    return replace(script, segments=tuple(segments))


def make_toolbench_like(rng: Random, options: GeneratorOptions) -> Script:
    """One request among ToolBench's tools.

    A tool takes the same time whenever it is called, in every workload; the tools' durations are evenly spaced draws, so that all
    tools together have the published moments, and tool numbers ascend with them.
    """
    profile, segments = TOOLBENCH, []
    prompt = draw_tokens(profile.prompt.spread(options.length_spread), rng)
    generated, returned = profile.generated.spread(options.length_spread), profile.returned.spread(options.length_spread)
    durations_s = profile.tool_s.spread(options.duration_spread)
    for _ in range(round(draw(profile.num_calls, rng))):
        tool = int(rng.random() * profile.num_tools)
        duration_s = durations_s.value_at((tool + 0.5) / profile.num_tools)
        num_generated, num_returned = draw_tokens(generated, rng), draw_tokens(returned, rng, least=0)
        segments.append(Segment(num_generated, Call(f"tool-{tool:05d}", duration_s, num_returned)))
    segments.append(Segment(draw_tokens(generated, rng)))
    return Script("toolbench", _prompt(prompt, "toolbench", options), tuple(segments))


def make_agent_like(rng: Random, options: GeneratorOptions) -> Script:
    """One session of a coding agent, whose client runs the tools."""
    profile, segments = AGENT, []
    fresh = rng.random() < profile.fresh_share
    limit = profile.compaction_tokens if fresh else profile.resumed_compaction_tokens
    prompt = draw_tokens(profile.fresh_prompt if fresh else profile.resumed_prompt, rng, least=profile.common_tokens + 1)
    reply, added = profile.reply.spread(options.length_spread), profile.added.spread(options.length_spread)
    context, num_turns = prompt, draw_tokens(profile.num_turns, rng)
    for _ in range(num_turns - 1):
        num_generated, num_added = draw_tokens(reply, rng), draw_tokens(added, rng)
        by_user = rng.random() < profile.user_share
        duration_s = draw((profile.user_s if by_user else profile.tool_s).spread(options.duration_spread), rng)
        context += num_generated
        kept = context
        if context + num_added > limit:
            kept = profile.common_tokens
            num_added = draw_tokens(profile.fresh_prompt, rng, least=kept + 1) - kept
        segments.append(Segment(num_generated, Call("user" if by_user else "tool", duration_s, num_added, RunBy.CLIENT, kept)))
        context = kept + num_added
    segments.append(Segment(draw_tokens(reply, rng)))
    spans = (Span(profile.common_tokens, "agent"), Span(prompt - profile.common_tokens))
    return Script("agent", spans, tuple(segments))
