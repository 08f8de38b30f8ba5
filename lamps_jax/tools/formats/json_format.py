"""Formats whose calls are JSON objects and whose chat templates know tools."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.formats.arguments import check_arguments, decoded, read_object
from lamps_jax.tools.formats.call_format import AnsweredCall, CallParser, Turn, WrittenCall, plain_message
from lamps_jax.tools.tool import Tool

COMPACT = {"whitespace_pattern": r"[ \n]?", "lenient": True}
"""Between the parts of a JSON text: a model that may write any number of blanks may never stop."""


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Calls that are JSON objects. A name that no tool has makes a call nevertheless, whose error the model is told.

    Attributes:
        markers: As in `CallFormat`.
        new_parser: Makes a parser for one request.
        before: A call as chat templates write it: up to its name,
        between: from there to the arguments,
        behind: and behind those.
        separator: Between two calls of a reply.
        joins_calls: Whether chat templates take several calls in one message.
        tokens: Those of the markers that the model's tokenizer has as tokens.
    """

    name: str
    markers: tuple[str, ...]
    new_parser: Callable[[Mapping[str, Tool]], CallParser]
    before: str
    between: str
    behind: str
    separator: str
    joins_calls: bool
    tokens: frozenset[str] = frozenset()
    allows_parallel: bool = True
    strips_text: bool = False
    begins_lines: bool = False
    lists_tools: bool = True

    def parser(self, tools: Mapping[str, Tool]) -> CallParser:
        return self.new_parser(tools)

    def parse_arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        arguments = read_object(written.arguments, f"the arguments of {tool.name}")
        check_arguments(tool, arguments)
        return arguments

    def grammar(self, tools: Sequence[Tool], *, parallel: bool) -> str:
        """Each call is written as the chat template would, but for a blank here and there in the arguments."""
        if not tools:
            raise ValueError("there are no tools to call; give some")
        calls = [
            f"{self._literal(self.before + json.dumps(tool.name) + self.between)} {arguments_rule(tool)} "
            f"{self._literal(self.behind)}"
            for tool in tools
        ]
        more = f" ({self._literal(self.separator)} call)*" if parallel else ""
        return f"start: call{more}\ncall: " + "\n    | ".join(calls) + "\n"

    def result_text(self, call: WrittenCall, result: str) -> None:
        return None

    def template_messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Calls with their arguments as objects, followed by their results in the same order."""
        shaped: list[dict[str, Any]] = []
        for turn in turns:
            if not turn.calls:
                shaped.append(plain_message(turn))
            groups = [turn.calls] if self.joins_calls and turn.calls else [(call,) for call in turn.calls]
            for number, group in enumerate(groups):
                content = (turn.content or "") if number == 0 else ""
                shaped.append({"role": "assistant", "content": content, "tool_calls": [_written(call) for call in group]})
                shaped += [{"role": "tool", "tool_call_id": call.id, "name": call.name, "content": call.result} for call in group]
        return shaped

    def tool_prompt(self, definitions: Sequence[Mapping[str, Any]]) -> str:
        """Nothing: the chat template lists them."""
        return ""

    def _literal(self, text: str) -> str:
        """`text` in a grammar: a tokenizer's own tokens go by their names, for their text alone does not mean them."""
        pattern = "|".join(map(re.escape, sorted(self.tokens))) or r"(?!)"
        pieces = [piece for piece in re.split(f"({pattern})", text) if piece]
        return " ".join(piece if piece in self.tokens else json.dumps(piece, ensure_ascii=False) for piece in pieces)


def arguments_rule(tool: Tool) -> str:
    """A grammar's rule for the arguments of `tool`."""
    return json_rule({"type": "object", **tool.parameters})


def json_rule(schema: Mapping[str, Any]) -> str:
    """A grammar's rule for JSON of a schema."""
    return "%json " + json.dumps({**schema, "x-guidance": COMPACT}, ensure_ascii=False, default=dict)


def _written(call: AnsweredCall) -> dict[str, Any]:
    read = decoded(call.arguments or "{}")
    function = {"name": call.name, "arguments": read if isinstance(read, dict) else call.arguments}
    return {"id": call.id, "type": "function", "function": function}
