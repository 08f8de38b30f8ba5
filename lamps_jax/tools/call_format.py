"""How a model writes calls, recognised character by character as it writes them.

Toolformer's inline form: ``[Name(arguments) -> result]``. The model writes up to the arrow; the result and the closing bracket
are put in for it.

Source: Schick et al., 2023, Toolformer, section 2.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.tool import Tool, ToolError

MAX_CALL_CHARS = 2000
"""A bracket that has not become a call after so many characters is text."""

_POSSIBLE_CALL = re.compile(r"\[(?:(?P<name>[A-Za-z_]\w*)(?P<rest>\(.*)?)?", re.DOTALL)
_ARROW = re.compile(r"\)\s*->")


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as the model wrote it.

    Attributes:
        name: Of the tool.
        arguments: The text between the parentheses.
        surplus: What stood behind the arrow already, for want of a token that ends there.
    """

    name: str
    arguments: str
    surplus: str = ""


class InlineCallParser:
    """Splits a stream of text into plain text and calls to the tools in `names`; text that may become a call is held back."""

    def __init__(self, names: frozenset[str]):
        self._names = names
        self._held = ""

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """Plain text that is certain by now, and a call if one has just been completed; nothing of the call is in the text."""
        if not self._held and "[" not in text:
            return text, None
        self._held += text
        plain = ""
        while self._held:
            at = self._held.find("[")
            if at < 0:
                return plain + self._release(), None
            plain, self._held = plain + self._held[:at], self._held[at:]
            match = _POSSIBLE_CALL.match(self._held)
            assert match is not None
            name, rest = match["name"], match["rest"]
            unfinished = match.end() == len(self._held) and len(self._held) <= MAX_CALL_CHARS
            if rest is None and unfinished and (name is None or any(known.startswith(name) for known in self._names)):
                return plain, None
            if rest is not None and name in self._names:
                if arrow := _ARROW.search(rest, 0, MAX_CALL_CHARS - match.start("rest")):
                    self._held = ""
                    return plain, WrittenCall(name, rest[1 : arrow.start()].strip(), rest[arrow.end() :])
                if unfinished:
                    return plain, None
            plain, self._held = plain + self._held[0], self._held[1:]
        return plain, None

    def flush(self) -> str:
        """Text still held back, when no more will come."""
        return self._release()

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held


def render_result(result: str) -> str:
    """What is put into the text behind the arrow."""
    return f" {' '.join(result.split())}]"


def parse_arguments(tool: Tool, text: str) -> dict[str, Any]:
    """Arguments by name from the text between the parentheses.

    A tool with one parameter takes the whole text; with several, they stand separated by commas, in the order of the schema.

    Raises:
        ToolError: If there are too few or too many.
    """
    names = tool.parameter_names
    values = [text] if len(names) == 1 else [part.strip() for part in text.split(",")] if text else []
    required = tool.parameters.get("required", ())
    if len(values) > len(names) or any(name not in names[: len(values)] for name in required):
        raise ToolError(f"{tool.name} takes the arguments {', '.join(names) or 'none'}")
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    return {name: _typed(value, properties[name]) for name, value in zip(names, values, strict=False)}


def render_arguments(arguments: str | Mapping[str, Any]) -> str:
    """The text between the parentheses, from arguments as the OpenAI API carries them: a JSON object, usually as text."""
    if isinstance(arguments, str):
        decoded = _decoded(arguments)
        if decoded is None:
            return arguments
        arguments = decoded if isinstance(decoded, dict) else {"": arguments}
    return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in arguments.values())


def _typed(value: str, schema: Mapping[str, Any]) -> Any:
    """`value` as JSON where the schema asks for something other than text and it is such; otherwise as it is."""
    if schema.get("type", "string") == "string":
        return value
    decoded = _decoded(value)
    return value if decoded is None else decoded


def _decoded(text: str) -> Any:
    """What `text` is as JSON; None if it is none, nests too deeply, or holds numbers or characters that JSON has no place for."""
    try:
        decoded = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(decoded, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return decoded


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
