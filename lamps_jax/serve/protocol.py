"""The OpenAI request bodies: what they may hold, and what the engine makes of it.

Fields that nobody knows are ignored, as clients send many; known fields that this server does not support are refused unless
they have the value that changes nothing.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lamps_jax.sched.request import SamplingParams
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.tools.tool import Tool

DEFAULT_COMPLETION_TOKENS = 16
"""`max_tokens` of /v1/completions where the request gives none, as in the OpenAI API."""

MAX_HINTS = 64
"""Most segments that a client may foresee."""

MAX_BODY_BYTES = 8 * 2**20
"""Bodies longer than this are refused before they are read as JSON; no context holds so much."""

_NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "repetition_penalty": (1, 1.0),
    "min_p": (0, 0.0),
    "stop_token_ids": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "functions": ([],),
    "function_call": ("none", "auto"),
}


class RequestError(Exception):
    """A request that cannot be served; the client is told why.

    Args:
        status: HTTP status.
        param: Field of the request that is to blame.
        code: Word by which programs tell errors apart.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code

    def body(self) -> dict[str, Any]:
        """The error as the OpenAI API shows it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class StreamOptions(_Body):
    """What a stream holds beside the text."""

    include_usage: bool | None = None


class SegmentHint(_Body):
    """What whoever asks knows of a stretch of output; `api_duration_s` is null, or left out, where no call ends it."""

    output_tokens: float
    api_duration_s: float | None = None
    returned_tokens: float = 0.0


class GenerationBody(_Body):
    """What both endpoints take. A field left out, or null, has its default."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    cache_salt: str | None = None
    predicted_segments: list[SegmentHint] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def max_new_tokens(self) -> int | None:
        """Tokens to sample at most; None: up to the context."""
        return self.max_tokens

    def sampling(self, default_temperature: float = 1.0) -> SamplingParams:
        """The engine's parameters; without a seed a new random one each time, any other seed is taken modulo 2**32.

        Raises:
            RequestError: If a value is out of range.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        try:
            return SamplingParams(
                max_tokens=self.max_new_tokens(),
                temperature=default_temperature if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                top_k=self.top_k or 0,
                seed=secrets.randbits(32) if self.seed is None else self.seed % 2**32,
                stop=tuple(stop),
                ignore_eos=bool(self.ignore_eos),
                min_tokens=self.min_tokens or 0,
            )
        except ValueError as error:
            raise RequestError(str(error), param=str(error).split()[0]) from error

    def hints(self) -> tuple[PredictedSegment, ...]:
        """What the client says that the request will do.

        Raises:
            RequestError: If there are too many, a number is negative or not finite, or one but the last ends in no call.
        """
        given = self.predicted_segments or []
        if len(given) > MAX_HINTS:
            _refuse(f"predicted_segments must be at most {MAX_HINTS}, got {len(given)}", "predicted_segments")
        if any(hint.api_duration_s is None for hint in given[:-1]):
            _refuse("predicted_segments must have an api_duration_s in all but the last: a call ends them", "predicted_segments")
        try:
            return tuple(PredictedSegment(hint.output_tokens, hint.api_duration_s, hint.returned_tokens) for hint in given)
        except ValueError as error:
            raise RequestError(f"predicted_segments: {error}", param="predicted_segments") from error

    def refuse_unsupported(self) -> None:
        """Refuses what this server would have to ignore although it changes the outcome."""
        for name, value in (self.model_extra or {}).items():
            neutral = _NEUTRAL_VALUES.get(name)
            if neutral is None or value is None or any(type(value) is type(item) and value == item for item in neutral):
                continue
            _refuse(f"{name} is not supported; leave it out{f' or send {neutral[0]!r}' if neutral else ''}", name)


class CompletionBody(GenerationBody):
    """Body of POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]

    def max_new_tokens(self) -> int | None:
        """As in the OpenAI API there is always a limit."""
        return DEFAULT_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or as token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if not self.prompt:
            _refuse("prompt is empty; give a text, token ids, or a list of either", "prompt")
        if isinstance(self.prompt[0], int):
            return [[item for item in self.prompt if isinstance(item, int)]]
        return [item for item in self.prompt if not isinstance(item, int)]


class TextPart(_Body):
    """One part of a message; only text is taken."""

    type: Literal["text"]
    text: str


class FunctionCall(_Body):
    """A call with its arguments, a JSON object as text."""

    name: str
    arguments: str


class ToolCall(_Body):
    """A call that an earlier reply asked for."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(_Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str | None:
        """The content, its parts joined."""
        return "".join(part.text for part in self.content) if isinstance(self.content, list) else self.content


class FunctionDefinition(_Body):
    """A function that the client runs."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolDefinition(_Body):
    """A tool that the client runs."""

    type: Literal["function"]
    function: FunctionDefinition


class ChatBody(GenerationBody):
    """Body of POST /v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    def max_new_tokens(self) -> int | None:
        """The newer field goes before the older."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def recognise_calls(self) -> bool:
        """Whether the reply may call tools, the client's or the server's."""
        return self.tool_choice != "none"

    def client_tools(self) -> dict[str, Tool]:
        """The tools that the client runs, by name.

        Raises:
            RequestError: If a definition cannot be used.
        """
        if self.tool_choice == "none":
            return {}
        tools: dict[str, Tool] = {}
        for definition in self.tools or []:
            tool = _client_tool(definition.function)
            if tool.name in tools:
                _refuse(f"tools has two functions called {tool.name!r}; rename one", "tools")
            tools[tool.name] = tool
        return tools

    def refuse_unsupported(self) -> None:
        """Also refuses to force a call: nothing constrains what the model writes."""
        super().refuse_unsupported()
        if not self.messages:
            _refuse("messages is empty; give at least one", "messages")
        if self.tool_choice not in (None, "none", "auto"):
            _refuse(f"tool_choice {self.tool_choice!r} is not supported; use 'auto' or 'none'", "tool_choice")


AnyBody = TypeVar("AnyBody", bound=GenerationBody)


def parse_body(kind: type[AnyBody], body: bytes) -> AnyBody:
    """The body of a request, checked.

    Raises:
        RequestError: If it is too long or not JSON, a field has a wrong type, or it asks for something that is not supported.
    """
    check_size(len(body))
    try:
        parsed = kind.model_validate_json(body)
    except ValidationError as error:
        raise _explain(error) from error
    parsed.refuse_unsupported()
    return parsed


def check_size(num_bytes: int) -> None:
    """Refuses a body of `num_bytes` and more.

    Raises:
        RequestError: If that is too long.
    """
    if num_bytes > MAX_BODY_BYTES:
        raise RequestError(f"the body has {num_bytes} bytes or more, at most {MAX_BODY_BYTES} are taken; send less", status=413)


def _explain(error: ValidationError) -> RequestError:
    """The first wrong field, with all that it might have been."""
    problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return RequestError(f"the body is not JSON: {problems[0]['msg']}", code="invalid_json")
    place = problems[0]["loc"]
    if not place:
        return RequestError("the body must be a JSON object")
    about = [problem for problem in problems if problem["loc"][0] == place[0]]
    field = ".".join(str(part) for part in place) if len(about) == 1 else str(place[0])
    messages = " or ".join(dict.fromkeys(problem["msg"] for problem in about))
    return RequestError(f"{field}: {messages}", param=str(place[0]))


def _client_tool(function: FunctionDefinition) -> Tool:
    """A tool whose schema is safe to read arguments by."""
    schema = function.parameters or {}
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping) or not all(isinstance(value, (Mapping, bool)) for value in properties.values()):
        _refuse(f"parameters.properties of function {function.name!r} must map names to JSON schemas", "tools")
    if not isinstance(required, list):
        _refuse(f"parameters.required of function {function.name!r} must be a list of names", "tools")
    typed = {name: value if isinstance(value, Mapping) else {} for name, value in properties.items()}
    parameters = {**schema, "type": "object", "properties": typed, "required": required}
    try:
        return Tool(function.name, function.description or "", parameters, _never_run_here)
    except ValueError as error:
        raise RequestError(str(error), param="tools") from error


def _never_run_here(**arguments: Any) -> str:
    raise AssertionError("a client's tool was run on the server")


def _refuse(message: str, param: str) -> NoReturn:
    raise RequestError(message, param=param)
