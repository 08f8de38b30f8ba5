"""A request: one prompt and all it yields, calls included, with the account of what is computed and where it lies."""

import enum
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lamps_jax.sched.footprint import Footprint
from lamps_jax.sched.segments import Handling, PredictedSegment


class RequestState(enum.Enum):
    """Where a request is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    IN_API_CALL = "in API call"
    FINISHED = "finished"


class FinishReason(enum.Enum):
    """Why a request ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    ABORT = "abort"
    ERROR = "error"


MAX_LOGPROBS = 20
"""Most likeliest tokens whose log-probabilities a request may ask for, as in the OpenAI API."""

MAX_LOGIT_BIASES = 300
"""Most tokens whose logits a request may shift, as in the OpenAI API."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A language that a request's text must be of.

    Attributes:
        kind: How `text` says it: "json_schema", "json_object" (any JSON object; `text` is empty), "regex", or "lark", a grammar
            in the dialect of llguidance.
        each_segment: Whether what is written behind the result of a call is again to be a text of it; otherwise only what is
            written up to the first call, or the end, is bound.
    """

    kind: Literal["json_schema", "json_object", "regex", "lark"]
    text: str = ""
    each_segment: bool = True


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen and when a request ends.

    Attributes:
        max_tokens: Tokens that may be sampled; tokens of tool results do not count. None: up to the model's context.
        temperature: 0 takes the likeliest token.
        top_p: Smallest set of tokens whose probabilities reach this sum.
        top_k: So many likeliest tokens; 0 takes all.
        seed: Same seed, same prompt: same tokens, whatever else the engine does meanwhile.
        stop: Texts that end the request; they are not part of its output.
        ignore_eos: Goes on after the end-of-text token.
        min_tokens: Neither end-of-text nor a stop text ends the request before so many sampled tokens.
        min_p: Only tokens at least so likely, relative to the likeliest, are drawn; 0 takes all.
        presence_penalty: Taken from the logit of every token that the request has sampled.
        frequency_penalty: Taken from it once for each time that it was sampled.
        repetition_penalty: Divides positive logits of tokens in the prompt and the output, and multiplies negative ones.
        logit_bias: Token ids, and what is added to their logits.
        stop_token_ids: Tokens that end the request, like end-of-text.
        num_logprobs: Log-probabilities are reported of each sampled token and of so many likeliest ones; None for none at all.
        constraint: What the text must be; None for anything.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    num_logprobs: int | None = None
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        _check(self.max_tokens is None or self.max_tokens >= 1, "max_tokens", "at least 1", self.max_tokens)
        _check(0.0 <= self.temperature <= 10.0, "temperature", "between 0 and 10", self.temperature)
        _check(0.0 < self.top_p <= 1.0, "top_p", "above 0 and at most 1", self.top_p)
        _check(0 <= self.top_k < 2**31, "top_k", "0 (off) or more", self.top_k)
        _check(0 <= self.seed < 2**32, "seed", "between 0 and 2**32 - 1", self.seed)
        _check(len(self.stop) <= 16 and all(self.stop), "stop", "at most 16 texts, none empty", list(self.stop))
        most = self.max_tokens if self.max_tokens is not None else float("inf")
        _check(0 <= self.min_tokens <= most, "min_tokens", f"between 0 and max_tokens ({self.max_tokens})", self.min_tokens)
        _check(0.0 <= self.min_p <= 1.0, "min_p", "between 0 and 1", self.min_p)
        for name in ("presence_penalty", "frequency_penalty"):
            _check(-2.0 <= getattr(self, name) <= 2.0, name, "between -2 and 2", getattr(self, name))
        _check(0.0 < self.repetition_penalty <= 10.0, "repetition_penalty", "above 0 and at most 10", self.repetition_penalty)
        _check(
            len(self.logit_bias) <= MAX_LOGIT_BIASES, "logit_bias", f"of at most {MAX_LOGIT_BIASES} tokens", len(self.logit_bias)
        )
        _check(all(-100.0 <= bias <= 100.0 for _, bias in self.logit_bias), "logit_bias", "between -100 and 100", self.logit_bias)
        _check(len(self.stop_token_ids) <= 16, "stop_token_ids", "at most 16 tokens", list(self.stop_token_ids))
        most_logprobs = MAX_LOGPROBS if self.num_logprobs is None else self.num_logprobs
        _check(0 <= most_logprobs <= MAX_LOGPROBS, "num_logprobs", f"between 0 and {MAX_LOGPROBS}", self.num_logprobs)

    @property
    def penalises(self) -> bool:
        """Whether tokens that stand in the request already are made less likely, or more."""
        return self.presence_penalty != 0.0 or self.frequency_penalty != 0.0 or self.repetition_penalty != 1.0

    @property
    def is_controlled(self) -> bool:
        """Whether choosing a token takes more than the model's logits, a temperature and what it is drawn from."""
        return (
            self.constraint is not None or self.num_logprobs is not None or bool(self.logit_bias) or self.min_p > 0.0
            or self.penalises
        )  # fmt: skip


def _check(holds: bool, name: str, allowed: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


class ProgramEnd(NamedTuple):
    """When and why a request of a program ended, and how many tokens it had then."""

    ended_s: float
    finish_reason: FinishReason
    num_tokens: int


@dataclass(slots=True, eq=False)
class Program:
    """A session or agent, of which a request is a part.

    Attributes:
        order: Rank of arrival of its first request.
        num_serviced_tokens: Tokens computed for those of its requests that have ended.
        last_end: Of the request that ended last; None once another has come.
    """

    order: int
    num_serviced_tokens: int = 0
    last_end: ProgramEnd | None = None


@dataclass(slots=True, eq=False)
class Request:
    """One prompt and all it yields.

    Attributes:
        arrival_s: When it was added, on the engine's clock.
        token_ids: Prompt, sampled tokens and tokens of tool results, in order.
        num_computed_tokens: Leading tokens whose keys and values the pool holds, or will hold once the submitted steps have run.
        num_pending_samples: Tokens that submitted steps will still sample.
        num_stale_samples: So many of the next collected samples belong to a step that should not have been; they are dropped.
        num_sampled_tokens: Sampled tokens, the ones that `max_tokens` bounds.
        num_found_tokens: Tokens that were not computed because their blocks were found, in all the times it was looked for.
        num_cached_prompt_tokens: Prompt tokens whose blocks were found when it started.
        block_ids: Device blocks, in the order of the tokens that they hold.
        host_block_ids: Host blocks of the tokens behind those; while there are any, the request cannot run.
        block_digests: The root of its chain and the digests of its leading full blocks, as far as they were needed.
        num_indexed_blocks: Leading blocks that are computed, full, and can be found by their digest.
        generation: Changes whenever its blocks are given up, so that what was noted of them before no longer counts.
        hints: What whoever asks says that it will do, segment by segment; empty if nothing.
        parent: A request with the same prompt, whose blocks of it this one shares as soon as they are computed.
        cache_salt: Requests share blocks only with those of the same salt.
        request_type: Requests of one type are alike; estimates are kept by it. "" where nothing is known.
        program_id: Names the session or agent that the request is part of; "" for none.
        priority: Of those that neither resume nor starve, requests of a higher one go before all of a lower one.
        expected_output_tokens: Tokens up to its first call or its end, as far as whoever asks knows; None if it does not.
        goes_on: It brings the results of calls that its client ran, and has taken over what was kept for it.
        slot: Row of the device's per-request state while running.
        order: Rank of arrival.
        queued_order: Rank of the last time it joined the queue.
        queue_ticket: Number of its valid entry in the scheduler's queue; 0 for none.
        queue_stay: Number of the entry with which its stay there began.
        paused_s: When its API call began.
        expected_return_s: When its API call is expected to return; None if nothing is known.
        keep_until_s: When its call gives up the blocks that it keeps on the device, if the policy limits that.
        rank: Requests are served in ascending order of it; given when it is queued.
        is_promoted: It has starved and goes first until it ends.
        num_calls: API calls that it has made.
        num_sampled_before_segment: Tokens sampled until its last call returned.
        estimate: What it is predicted to do from when it was last queued on, with the handling chosen for each call; empty where
            the policy asks for none.
        footprint: What that takes of the device, if it were alone there.
        waste_token_s: What its call was found to waste, whatever is done.
        recompute_terms: Token-seconds that computing its context again after its call wastes: of its own, and for each token
            of others.
        program: What is known of the session or agent that it is part of.
        max_sampled_tokens: `max_tokens` of its sampling, or more than anybody can sample.
        num_tokens_once_computed: Most tokens it ever had computed; what is computed again below that was recomputed.
    """

    request_id: str
    arrival_s: float
    token_ids: list[int]
    sampling: SamplingParams
    handling: Handling = Handling.PRESERVE
    state: RequestState = RequestState.WAITING
    finish_reason: FinishReason | None = None
    num_prompt_tokens: int = 0
    num_computed_tokens: int = 0
    num_pending_samples: int = 0
    num_stale_samples: int = 0
    num_sampled_tokens: int = 0
    num_preemptions: int = 0
    num_recomputed_tokens: int = 0
    num_found_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    block_ids: list[int] = field(default_factory=list)
    host_block_ids: list[int] = field(default_factory=list)
    block_digests: list[bytes] = field(default_factory=list)
    num_indexed_blocks: int = 0
    generation: int = 0
    parent: "Request | None" = None
    cache_salt: str = ""
    request_type: str = ""
    program_id: str = ""
    hints: tuple[PredictedSegment, ...] = ()
    priority: int = 0
    expected_output_tokens: float | None = None
    goes_on: bool = False
    slot: int | None = None
    order: int = 0
    queued_order: int = 0
    queue_ticket: int = 0
    queue_stay: int = 0
    paused_s: float = 0.0
    expected_return_s: float | None = None
    keep_until_s: float | None = None
    rank: tuple[float, ...] = ()
    is_promoted: bool = False
    num_calls: int = 0
    num_sampled_before_segment: int = 0
    estimate: tuple[PredictedSegment, ...] = ()
    footprint: Footprint | None = None
    waste_token_s: float = 0.0
    recompute_terms: tuple[float, float] = (0.0, 0.0)
    program: Program | None = None
    max_sampled_tokens: int = 2**62
    num_tokens_once_computed: int = 0

    def __post_init__(self) -> None:
        self.num_prompt_tokens = len(self.token_ids)
        if self.sampling.max_tokens is not None:
            self.max_sampled_tokens = self.sampling.max_tokens

    @property
    def num_tokens(self) -> int:
        """Tokens known now or sampled by steps already submitted."""
        return len(self.token_ids) + self.num_pending_samples

    @property
    def num_serviced_tokens(self) -> int:
        """Tokens computed for it so far, those computed again included."""
        return self.num_tokens_once_computed + self.num_recomputed_tokens

    @property
    def num_segment_tokens(self) -> int:
        """Tokens sampled since it began, or since its last call returned."""
        return self.num_sampled_tokens - self.num_sampled_before_segment

    @property
    def max_tokens_left(self) -> int | float:
        """Tokens that may still be sampled, counting those under way."""
        if self.sampling.max_tokens is None:
            return float("inf")
        return self.sampling.max_tokens - self.num_sampled_tokens - self.num_pending_samples
