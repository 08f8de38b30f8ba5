"""What is asked of one request beside its prompt and how its tokens are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options of a request.

    Attributes:
        client_tools: Tools that whoever asks runs themselves: the request ends where it calls one. They go before the engine's
            own tools of the same name.
        recognise_calls: Without it calls are plain text.
        parallel_calls: Whether a reply may hold several calls of the client's, where the model's call format knows that.
        cache_salt: KV blocks are shared only among requests of the same salt: one a tenant keeps tenants from learning, by the
            time that it takes, what others have asked.
        request_type: What requests of one type do is taken for alike; "" where nothing is known.
        program_id: Names the session or agent that the request is part of; "" for none.
        hints: What it will do, segment by segment, as far as whoever asks knows; only some predictors look at it.
        answered_calls: Ids of the calls whose results the client brings back with this request: what was kept for them is the
            request's.
        expected_output_tokens: How many tokens its output will have, as far as the client knows; None if it does not.
        expected_call_s: How long the client's calls will take, by tool, as far as it knows.
        keep_s: The least and the most seconds for which KV is kept for a call that the client runs, as far as memory allows;
            None leaves either to the policy.
        priority: Requests of a higher one go before all of a lower one.
        ends_program: Whether nothing will follow in its program, so that nothing need be kept for it.
    """

    client_tools: Mapping[str, Tool] = field(default_factory=dict)
    recognise_calls: bool = True
    parallel_calls: bool = True
    cache_salt: str = ""
    request_type: str = ""
    program_id: str = ""
    hints: tuple[PredictedSegment, ...] = ()
    answered_calls: tuple[str, ...] = ()
    expected_output_tokens: float | None = None
    expected_call_s: Mapping[str, float] = field(default_factory=dict)
    keep_s: tuple[float | None, float | None] = (None, None)
    priority: int = 0
    ends_program: bool = False


NO_OPTIONS = RequestOptions()
"""Everything at its default."""
