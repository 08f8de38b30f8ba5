"""A request that has not ended, with what the engine, unlike the scheduler, knows of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lamps_jax.engine.control import Control
from lamps_jax.engine.events import ApiCall, EventSink, RequestOutput, TokenLogprob
from lamps_jax.engine.options import RequestOptions
from lamps_jax.engine.text_stream import TokenReader
from lamps_jax.sched.plan import SampledLogprob
from lamps_jax.sched.request import Request

if TYPE_CHECKING:  # a simulation needs no grammar
    from lamps_jax.engine.grammar import Grammars, Matcher


@dataclass(slots=True)
class LiveRequest:
    """A request while it lives.

    Attributes:
        tool_state: What stateful tools remember of it, by tool.
        unshown_logprobs: Of tokens that no event has told of yet.
        matcher: Follows the text that its constraint binds; None where nothing binds it (any more).
        counts: How often it has sampled each token, where somebody wants to know.
        resumed: The call that it has come back from, until the next token is sampled.
    """

    request: Request
    output: RequestOutput
    reader: TokenReader
    on_event: EventSink
    options: RequestOptions
    tool_state: dict[str, dict[str, Any]] = field(default_factory=dict)
    unshown_logprobs: list[TokenLogprob] = field(default_factory=list)
    matcher: "Matcher | None" = None
    counts: Counter[int] = field(default_factory=Counter)
    resumed: ApiCall | None = None

    @property
    def has_client_calls(self) -> bool:
        """Whether its client is to run calls with which its reply ends."""
        return bool(self.output.calls) and self.output.calls[-1].is_clients

    @property
    def owes_call(self) -> bool:
        """Whether all that it may write now is a call, so that what is held back is half a one."""
        constraint = self.request.sampling.constraint
        return self.matcher is not None and constraint is not None and constraint.kind == "lark" and not constraint.each_segment

    def begin_text(self, grammars: "Grammars | None", *, first: bool) -> None:
        """Begins a stretch of text: the first, or the one behind a call's result.

        Raises:
            ValueError: If its constraint cannot be compiled.
        """
        constraint = self.request.sampling.constraint
        binds = constraint is not None and (first or constraint.each_segment)
        if binds and grammars is None:
            raise ValueError("this engine has no tokens to keep a text to a grammar by")
        self.matcher = grammars.start(constraint) if binds and grammars and constraint else None

    def take(self, token_id: int, logprob: SampledLogprob | None) -> None:
        """Takes in a sampled token.

        Raises:
            RuntimeError: If its constraint cannot be followed any further.
        """
        self.output.token_ids.append(token_id)
        if self.request.sampling.is_controlled:
            self.counts[token_id] += 1
        if logprob is not None:
            told = TokenLogprob(token_id, *logprob)
            self.output.logprobs.append(told)
            self.unshown_logprobs.append(told)
        if self.matcher is not None:
            self.matcher.accept(token_id)

    def take_unshown_logprobs(self) -> tuple[TokenLogprob, ...]:
        """What the next event has to tell of."""
        told, self.unshown_logprobs = tuple(self.unshown_logprobs), []
        return told

    def control(self) -> Control:
        """What its next token is chosen by.

        Raises:
            RuntimeError: If its constraint cannot be followed any further.
        """
        allowed = None if self.matcher is None else self.matcher.allowed()
        return Control(self.request.request_id, self.request.sampling, self.request.token_ids, self.counts, allowed)


def controlled(live: Iterable[LiveRequest]) -> list[LiveRequest]:
    """Those whose next token, which a submitted step is to sample, is chosen by more than its logits."""
    return [each for each in live if each.request.num_pending_samples]
