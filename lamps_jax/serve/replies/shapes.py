"""The shapes of responses, for the description of the API; tests hold the replies to them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Reason = Literal["stop", "length", "tool_calls"]


class Shape(BaseModel):
    """A JSON object of a response: its fields are all there, and no others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ErrorContent(Shape):
    """What went wrong."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    """Field of the request that is to blame."""
    code: str | None


class Error(Shape):
    """The body of every response that is not a success."""

    error: ErrorContent


class Timings(Shape):
    """Seconds; null where there were too few tokens."""

    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float
    service_s: float
    api_s: float


class ServerCall(Shape):
    """A call that the server ran."""

    id: str
    name: str
    arguments: dict[str, Any]
    result: str | None
    failed: bool
    duration_s: float | None
    handling: Literal["preserve", "discard", "swap"] | None


class Account(Shape):
    """What the server did for a choice."""

    calls: list[ServerCall]
    timings: Timings


class PromptTokensDetails(Shape):
    """Of the tokens of the prompt."""

    cached_tokens: int
    """Not computed, as their KV was found."""
    audio_tokens: Literal[0]


class CompletionTokensDetails(Shape):
    """Of the tokens of the replies."""

    reasoning_tokens: Literal[0]
    audio_tokens: Literal[0]
    accepted_prediction_tokens: Literal[0]
    rejected_prediction_tokens: Literal[0]


class Usage(Shape):
    """Tokens in and out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class CompletionLogprobs(Shape):
    """A value for each token that was sampled."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Shape):
    """One reply to one prompt."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Reason
    lamps: Account


class Completion(Shape):
    """The replies to all prompts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[CompletionChoice]
    usage: Usage


class LikelyToken(Shape):
    """A token with its log-probability."""

    token: str
    logprob: float
    bytes: list[Annotated[int, Field(ge=0, le=255)]]


class SampledToken(LikelyToken):
    """A token that was sampled, and the likeliest ones in its place."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(Shape):
    """A value for each token that was sampled."""

    content: list[SampledToken]
    refusal: None


class CalledFunction(Shape):
    """A function with its arguments, JSON as text."""

    name: str
    arguments: str


class ClientCall(Shape):
    """A call for the client to run."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ReplyMessage(Shape):
    """The next message of the conversation."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[ClientCall] | None = None


class ChatChoice(Shape):
    """One reply; `lamps` is here where there are several."""

    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: Reason
    lamps: Account | None = None


class ChatCompletion(Shape):
    """The replies."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: None
    service_tier: None
    choices: list[ChatChoice]
    usage: Usage
    lamps: Account | None = None


class ModelCard(Shape):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    """Tokens of its context."""


class ModelList(Shape):
    """The models that are served: one."""

    object: Literal["list"]
    data: list[ModelCard]


class Tokens(Shape):
    """The tokens of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Shape):
    """The text of tokens."""

    prompt: str


class Health(Shape):
    """The server takes requests."""

    status: Literal["ok"]
    kv: dict[str, int]


class Version(Shape):
    """Of the server."""

    version: str
