"""Fields beyond the OpenAI API by which a client tells what it knows of a request, and of the session that it is part of."""

from typing import Annotated, Any

from pydantic import Field

from lamps_jax.engine.options import RequestOptions
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.serve.protocol import Body, Part, RequestError, at_most, entries_at_most, refuse

MAX_HINTS = 64
"""Most segments that a client may foresee."""

MAX_NAME_CHARS = 256
"""Most characters of a session's name."""

MAX_SECONDS = 1e6
"""No duration that a client tells may be longer."""

MAX_TOOLS = 128
"""Most tools of a request, as in the OpenAI API."""

Priority = Annotated[int, Field(ge=-100, le=100)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
ExpectedTokens = Annotated[float, Field(gt=0, le=1e9)]


class SegmentHint(Part):
    """What whoever asks knows of a stretch of output; `api_duration_s` is null, or left out, where no call ends it."""

    output_tokens: float
    api_duration_s: float | None = None
    returned_tokens: float = 0.0


class KeepBounds(Part):
    """For how many seconds the KV of a request is kept while its client runs a call."""

    min: Seconds | None = None
    max: Seconds | None = None


class AgentHints(Part):
    """What NVIDIA Dynamo calls the hints of an agent."""

    priority: Priority | None = None
    osl: ExpectedTokens | None = None
    """Expected output tokens."""
    speculative_prefill: bool | None = None
    """Taken and not acted upon."""


class Nvext(Part):
    """NVIDIA Dynamo's place for what the OpenAI API does not have."""

    agent_hints: AgentHints | None = None


class SessionBody(Body):
    """Fields of every request for text that concern when it runs and what is kept of it, not what it says."""

    cache_salt: Annotated[str, Field(max_length=1024)] | None = None
    """KV blocks are shared among requests of the same salt alone."""
    session_id: Annotated[str, Field(max_length=MAX_NAME_CHARS)] | None = None
    """Names the conversation or agent that the request is part of; the header X-Session-Id does as well."""
    end_of_session: bool | None = None
    """Nothing will follow in the session, so that nothing need be kept for it."""
    priority: Priority | None = None
    """Requests of a higher one go before all of a lower one."""
    expected_output_tokens: ExpectedTokens | None = None
    """How many tokens the output will have, as far as the client knows."""
    tool_durations: Annotated[dict[str, Seconds], entries_at_most(MAX_TOOLS)] | None = None
    """Seconds that the client's tools will take, by name."""
    kv_keep_s: KeepBounds | None = None
    """The least and the most seconds for which KV is kept while the client runs a call."""
    timeout_s: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Seconds from the request's arrival within which it must have ended; the header X-Request-Timeout-S does as well."""
    predicted_segments: Annotated[list[SegmentHint], at_most(MAX_HINTS)] | None = None
    """What is known of the output, up to each call and to the end."""
    nvext: Nvext | None = None
    """`agent_hints` in it are other names of `priority` and `expected_output_tokens`, which go before them."""

    def check(self) -> None:
        """Also refuses bounds that contradict each other, and hints that no request could follow."""
        super().check()
        low, high = self._keep_s
        if low is not None and high is not None and low > high:
            refuse(f"kv_keep_s.min must be at most kv_keep_s.max, got {low} and {high}", "kv_keep_s")
        self.hints()

    @property
    def asked_priority(self) -> int:
        """The priority, under whichever of its names; 0 without one."""
        agent = (self.nvext and self.nvext.agent_hints) or AgentHints()
        return (agent.priority if self.priority is None else self.priority) or 0

    def hints(self) -> tuple[PredictedSegment, ...]:
        """What the client says that the request will do.

        Raises:
            RequestError: If there are too many, a number is negative or not finite, or one but the last ends in no call.
        """
        given = self.predicted_segments or []
        if any(hint.api_duration_s is None for hint in given[:-1]):
            refuse("predicted_segments must have an api_duration_s in all but the last: a call ends them", "predicted_segments")
        try:
            return tuple(PredictedSegment(hint.output_tokens, hint.api_duration_s, hint.returned_tokens) for hint in given)
        except ValueError as error:
            raise RequestError(f"predicted_segments: {error}", param="predicted_segments") from error

    def options(self, *, session_id: str | None = None, tenant: str = "", **more: Any) -> RequestOptions:
        """What is asked of the request beside its text.

        Args:
            session_id: From the header; the body's goes before it.
            tenant: What the client's key is called: neither blocks, nor sessions, nor calls are shared among several; "" for all
                whose clients have no keys.
            more: Options that other fields tell.
        """
        agent = (self.nvext and self.nvext.agent_hints) or AgentHints()
        salt = _within(tenant, self.cache_salt or "") if tenant else self.cache_salt or ""
        session = self.session_id or session_id or ""
        return RequestOptions(
            cache_salt=salt,
            program_id=_within(salt, session) if session else "",
            hints=self.hints(),
            expected_output_tokens=agent.osl if self.expected_output_tokens is None else self.expected_output_tokens,
            expected_call_s=self.tool_durations or {},
            keep_s=self._keep_s,
            priority=self.asked_priority,
            ends_program=bool(self.end_of_session),
            **more,
        )

    @property
    def _keep_s(self) -> tuple[float | None, float | None]:
        return (None, None) if self.kv_keep_s is None else (self.kv_keep_s.min, self.kv_keep_s.max)


def _within(whole: str, name: str) -> str:
    """What `name` is called outside of `whole`: nothing else is called so, whatever the two are."""
    return f"{len(whole)}:{whole}:{name}"
