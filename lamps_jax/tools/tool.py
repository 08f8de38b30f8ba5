"""A tool: a named function with a JSON schema, and the limits under which the engine runs it."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""What a tool may be called: the names that OpenAI's functions and MCP's tools have, if they start with a letter."""


class ToolError(Exception):
    """Raised by a tool for input it cannot serve; the message is short and is shown to the model as the call's result."""


class ToolUnavailable(ToolError):
    """Raised by a tool that could not do its work this time: it cannot be reached, is overloaded, or was lost on the way.

    A call that ends so is tried again, if its tool declares `Tool.max_retries`.
    """


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: What the model writes, for example ``Calculator``.
        description: What it is for, in a sentence or a paragraph for people and for prompts.
        parameters: JSON schema of the arguments: an object whose ``properties`` are in positional order.
        function: Called with the arguments as keywords, on a thread of its own; returns the text that the model reads. What an
            ``async def`` function returns is awaited instead, and cancelled when nobody waits for it any more. With `stateful`
            it also gets ``state``, a dictionary that lives exactly as long as the request.
        timeout_s: Seconds after which the model is told that the call timed out, waiting and retries included.
        max_result_chars: Longer results are cut, and end in an ellipsis.
        stateful: Whether `function` takes ``state``.
        max_concurrency: Calls that may run at once; further ones wait. None: any number.
        max_retries: How often a call may be tried again after `ToolUnavailable`, ``TimeoutError`` or ``ConnectionError``.
            With 0, no call is ever run twice: right for all that must not happen twice.
        retry_delay_s: Seconds before the first retry; doubled before each further one.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] = field(repr=False)
    timeout_s: float = 10.0
    max_result_chars: int = 4000
    stateful: bool = False
    max_concurrency: int | None = None
    max_retries: int = 0
    retry_delay_s: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(
                "a tool's name must be a letter or _, and up to 63 more letters, digits, _, - or ., all of ASCII; "
                f"got {self.name!r}"
            )
        if not isinstance(self.description, str):
            raise ValueError(f"the description of tool {self.name} must be text, got {self.description!r}")
        if not callable(self.function):
            raise ValueError(f"the function of tool {self.name} must be something to call, got {self.function!r}")
        self._check_parameters()
        self._check_limit("timeout_s", self.timeout_s)
        self._check_limit("max_result_chars", self.max_result_chars, whole=True)
        if self.max_concurrency is not None:
            self._check_limit("max_concurrency", self.max_concurrency, whole=True)
        self._check_limit("max_retries", self.max_retries, whole=True, zero=True)
        self._check_limit("retry_delay_s", self.retry_delay_s, zero=True)

    def _check_parameters(self) -> None:
        if not isinstance(self.parameters, Mapping) or self.parameters.get("type", "object") != "object":
            raise ValueError(f"the parameters of tool {self.name} must be a JSON schema of an object, got {self.parameters!r}")
        properties, required = self.parameters.get("properties", {}), self.parameters.get("required", [])
        if not isinstance(properties, Mapping) or not all(isinstance(schema, Mapping) for schema in properties.values()):
            raise ValueError(f"the properties of tool {self.name} must be an object of JSON schemas, got {properties!r}")
        if not isinstance(required, list | tuple) or any(
            not isinstance(name, str) or name not in properties for name in required
        ):
            raise ValueError(f"required of tool {self.name} must list some of its properties, got {required!r}")
        try:
            json.dumps(self.parameters, default=dict)  # a Mapping is written as an object
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the parameters of tool {self.name} cannot be written as JSON: {error}") from error
        for reference in _references(self.parameters):
            if not reference.startswith("#"):
                raise ValueError(
                    f"the parameters of tool {self.name} refer to {reference!r}, outside of their schema; "
                    "put what is meant under $defs"
                )

    def _check_limit(self, name: str, value: float, *, whole: bool = False, zero: bool = False) -> None:
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not value < math.inf or value < 0 or (value == 0 and not zero):
            allowed = ("0 or more" if zero else "positive") + (", a whole number" if whole else "")
            raise ValueError(f"{name} of tool {self.name} must be {allowed}, got {value!r}")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in positional order."""
        return tuple(self.parameters.get("properties", {}))


def _references(schema: Any) -> Iterator[str]:
    """Every ``$ref`` of a JSON schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _references(value)


def one_string(name: str, description: str) -> dict[str, Any]:
    """JSON schema of a tool whose only argument is the string `name`."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name],
        "additionalProperties": False,
    }
