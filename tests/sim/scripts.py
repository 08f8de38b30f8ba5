"""Scripts for tests: any valid one, and short ways to write one."""

from hypothesis import strategies as st

from lamps_jax.sim.workload import Call, RunBy, Script, Segment, Span, context_after


def server_call(duration_s: float = 1.0, num_returned_tokens: int = 5, name: str = "tool") -> Call:
    return Call(name, duration_s, num_returned_tokens)


def client_call(duration_s: float = 1.0, num_returned_tokens: int = 5, num_kept_tokens: int | None = None) -> Call:
    return Call("tool", duration_s, num_returned_tokens, RunBy.CLIENT, num_kept_tokens)


def script(*segments: Segment, prompt: int = 10, request_type: str = "test") -> Script:
    return Script(request_type, (Span(prompt),), segments)


@st.composite
def any_script(draw: st.DrawFn) -> Script:
    spans = draw(st.lists(st.builds(Span, st.integers(1, 40), st.sampled_from([None, "a", "b", "c"])), min_size=1, max_size=4))
    context, segments = sum(span.num_tokens for span in spans), []
    num_segments, ends_in_call = draw(st.integers(1, 5)), draw(st.booleans())
    for number in range(num_segments):
        num_generated = draw(st.integers(1, 30))
        context += num_generated
        call = None
        if number < num_segments - 1 or ends_in_call:
            duration_s, num_returned = draw(st.floats(0, 100)), draw(st.integers(0, 30))
            if draw(st.booleans()):
                call = Call("tool", duration_s, num_returned)
            else:
                kept = draw(st.one_of(st.none(), st.integers(0 if num_returned else 1, context)))
                call = Call("tool", duration_s, num_returned, RunBy.CLIENT, kept)
            context = context_after(context, call)
        segments.append(Segment(num_generated, call))
    return Script(draw(st.sampled_from(["x", "y"])), tuple(spans), tuple(segments))
