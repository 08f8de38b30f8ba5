"""Toolformer's inline form: ``[Name(arguments) -> result]``.

The model writes up to the arrow; the result and the closing bracket are put in for it.

Source: Schick et al., 2023, Toolformer, section 2.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.formats.arguments import check_arguments, decoded, typed_argument
from lamps_jax.tools.formats.call_format import CallParser, Turn, WrittenCall, plain_message
from lamps_jax.tools.formats.inline_grammar import inline_grammar
from lamps_jax.tools.tool import Tool, ToolError

MAX_CALL_CHARS = 2000
"""A bracket that has not become a call after so many characters is text."""

_POSSIBLE_CALL = re.compile(r"\[(?:(?P<name>[A-Za-z_][\w.-]*)(?P<rest>\(.*)?)?", re.DOTALL)
_ARROW = re.compile(r"\)\s*->")


class InlineCallParser:
    """Finds calls to the tools in `names`; a bracket with any other name is text."""

    def __init__(self, names: frozenset[str]):
        self._names = names
        self._held = ""

    def feed(self, text: str) -> tuple[str, WrittenCall | None]:
        """As in `CallParser`; nothing of a call is in the text."""
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

    def flush(self) -> tuple[str, WrittenCall | None]:
        """Text still held back: no end completes a call."""
        return self._release(), None

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held


@dataclass(frozen=True, slots=True)
class InlineFormat:
    """Calls as the embedded model writes them. A name that no tool has is text."""

    name: str = "inline"
    allows_parallel: bool = False
    markers: tuple[str, ...] = ()
    strips_text: bool = True
    begins_lines: bool = False
    lists_tools: bool = False

    def parser(self, tools: Mapping[str, Tool]) -> CallParser:
        return InlineCallParser(frozenset(tools))

    def parse_arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """As in `CallFormat`.

        A tool with one parameter takes the whole text; with several, they stand separated by commas, in the order of the schema.
        """
        text, names = written.arguments, tool.parameter_names
        values = [text] if len(names) == 1 else [part.strip() for part in text.split(",")] if text else []
        required = tool.parameters.get("required", ())
        if len(values) > len(names) or any(name not in names[: len(values)] for name in required):
            raise ToolError(f"{tool.name} takes the arguments {', '.join(names) or 'none'}")
        arguments = {name: typed_argument(tool, name, value) for name, value in zip(names, values, strict=False)}
        check_arguments(tool, arguments)
        return arguments

    def grammar(self, tools: Sequence[Tool], *, parallel: bool) -> str:
        return inline_grammar(tools)

    def result_text(self, call: WrittenCall, result: str) -> str:
        return f" {_one_line(result)}]"

    def template_messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Each call stands in a message of its own, followed by its result on one line, as results of the server's tools are."""
        shaped: list[dict[str, Any]] = []
        for turn in turns:
            if not turn.calls:
                shaped.append(plain_message(turn))
            for number, call in enumerate(turn.calls):
                function = {"name": call.name, "arguments": render_arguments(call.arguments)}
                written = {"id": call.id, "type": "function", "function": function}
                content = turn.content if number == 0 else None
                shaped.append({"role": "assistant", "content": content or None, "tool_calls": [written]})
                shaped.append({"role": "tool", "tool_call_id": call.id, "content": _one_line(call.result)})
        return shaped

    def tool_prompt(self, definitions: Sequence[Mapping[str, Any]]) -> str:
        """Nothing: a model that writes this form was trained to use its tools, or the system message says how."""
        return ""


INLINE = InlineFormat()


def render_arguments(arguments: str | Mapping[str, Any]) -> str:
    """The text between the parentheses, from arguments as the OpenAI API carries them: a JSON object, usually as text."""
    if isinstance(arguments, str):
        read = decoded(arguments)
        if read is None:
            return arguments
        arguments = read if isinstance(read, dict) else {"": arguments}
    return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in arguments.values())


def _one_line(result: str) -> str:
    return " ".join(result.split())
