"""A tool: a named function with a JSON schema, and the limits under which the engine runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class ToolError(Exception):
    """Raised by a tool for input it cannot serve; the message is short and is shown to the model as the call's result."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: What the model writes, for example ``Calculator``.
        description: One sentence for people and for prompts.
        parameters: JSON schema of the arguments: an object whose ``properties`` are in positional order.
        function: Called with the arguments as keywords; returns the text that the model reads. With `stateful` it also
            gets ``state``, a dictionary that lives exactly as long as the request.
        timeout_s: Seconds after which the model is told that the call timed out.
        max_result_chars: Longer results are cut, and end in an ellipsis.
        stateful: Whether `function` takes ``state``.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., str] = field(repr=False)
    timeout_s: float = 10.0
    max_result_chars: int = 400
    stateful: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a tool's name must be a Python identifier, got {self.name!r}")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s of tool {self.name} must be positive, got {self.timeout_s}")
        properties, required = self.parameters.get("properties", {}), self.parameters.get("required", [])
        if not isinstance(properties, Mapping) or not all(isinstance(schema, Mapping) for schema in properties.values()):
            raise ValueError(f"the properties of tool {self.name} must be an object of JSON schemas, got {properties!r}")
        if not isinstance(required, list | tuple) or any(
            not isinstance(name, str) or name not in properties for name in required
        ):
            raise ValueError(f"required of tool {self.name} must list some of its properties, got {required!r}")
        if self.max_result_chars <= 0:
            raise ValueError(f"max_result_chars of tool {self.name} must be positive, got {self.max_result_chars}")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in positional order."""
        return tuple(self.parameters.get("properties", {}))


def one_string(name: str, description: str) -> dict[str, Any]:
    """JSON schema of a tool whose only argument is the string `name`."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name],
        "additionalProperties": False,
    }
