"""What the engine reports of a request while it runs, and the whole of it at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lamps_jax.metrics import Timestamps
from lamps_jax.sched.request import FinishReason, Handling


@dataclass(slots=True)
class ApiCall:
    """One call of a tool.

    Attributes:
        arguments: By name, as the tool's schema has them.
        written: The arguments as the model wrote them.
        result: What the model was given; None while the tool runs, and for a call that the client runs.
        failed: Whether `result` tells of an error.
        handling: What became of the request's blocks meanwhile; None where they are let go at once.
        expected_s: How long it was expected to take when it was made; None if nothing was known, or the client runs it.
        num_output_tokens: Tokens that the request had sampled when it was made, those of the call included.
        returned_token_ids: Tokens of the result in the request's context, as far as they have room there; None as `result`.
        is_clients: Whether the client is to run it.
        called_s: When it was made, on the engine's clock.
        returned_s: When its result was there; None as `result`.
        resumed_s: When the first token behind its result was sampled; None if none was.
    """

    call_id: str
    name: str
    arguments: dict[str, Any]
    written: str
    result: str | None = None
    failed: bool = False
    duration_s: float | None = None
    handling: Handling | None = None
    expected_s: float | None = None
    num_output_tokens: int = 0
    returned_token_ids: list[int] | None = None
    is_clients: bool = False
    called_s: float = 0.0
    returned_s: float | None = None
    resumed_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The call as the endpoint and `--json` show it."""
        return {
            "id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
            "result": self.result,
            "failed": self.failed,
            "duration_s": None if self.duration_s is None else round(self.duration_s, 6),
            "handling": None if self.handling is None else self.handling.value,
        }


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely a sampled token was, by the model alone: before penalties, constraints and temperature.

    Attributes:
        likeliest: Token ids and their log-probabilities, the likeliest first.
    """

    token_id: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class RequestOutput:
    """All that a request has yielded so far; complete once `finish_reason` is set.

    Attributes:
        text: What the model wrote, without its calls.
        token_ids: Sampled tokens, those of calls included.
        logprobs: Of each of `token_ids`, if they were asked for; empty otherwise.
        num_cached_prompt_tokens: Prompt tokens that were not computed because their KV blocks were there already.
        error: Why it ended, if it failed.
        is_askers_fault: Whether what was asked is to blame for that.
    """

    request_id: str
    num_prompt_tokens: int
    timestamps: Timestamps
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    calls: list[ApiCall] = field(default_factory=list)
    num_cached_prompt_tokens: int = 0
    finish_reason: FinishReason | None = None
    error: str | None = None
    is_askers_fault: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a request's output.

    Attributes:
        logprobs: Of the tokens that were sampled since the last event that had any, if they were asked for.
        kind: ``started``: the first step that computes something of it was planned. ``text``: `text` was added. ``call``: `call`
            has begun. ``result``: `call` has its result. ``finished``: no more will come.
    """

    kind: Literal["started", "text", "call", "result", "finished"]
    output: RequestOutput
    text: str = ""
    call: ApiCall | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


EventSink = Callable[[Event], None]
"""Takes the events of one request, on the engine's thread; must return soon, not raise, and not call the engine."""
