"""A grammar of inline calls."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lamps_jax.tools.formats.json_format import json_rule
from lamps_jax.tools.tool import Tool

MAX_TEXT_CHARS = 400
"""Longest argument that is text."""

_SCALARS = {"integer", "number", "boolean", "null"}
_NARROWING = {
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "$ref",
}
_WHOLE, _DECIMAL = "/-?(0|[1-9][0-9]{0,14})/", "/-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,15})?/"  # a model may not know where to stop
_UNWRITABLE_ALONE = r"\n|^\s|\s$|\)\s*->"
_UNWRITABLE = r"[,()\n]|^\s|\s$|^$"


def inline_grammar(tools: Sequence[Tool]) -> str:
    """A grammar of one call of one of `tools`: ``[Name(arguments) ->``.

    Raises:
        ValueError: If there are no tools, or the arguments of one cannot be written in a row.
    """
    if not tools:
        raise ValueError("there are no tools to call; give some")
    rules, calls = list[str](), list[str]()
    for number, tool in enumerate(tools):
        head = _literal(f"[{tool.name}(")
        match tool.parameter_names:
            case ():
                calls.append(f"{head} {_literal(') ->')}")
            case (only,) if _is_text(tool.parameters["properties"][only]):
                rules.append(f"TEXT{number}: {_last_text(tool.parameters['properties'][only])}")
                calls.append(f"{head} TEXT{number}")
            case names:
                calls.append(f"{head} {_in_a_row(tool, names)} {_literal(') ->')}")
    return "\n".join([f'start: " "? call\ncall: {f"{chr(10)}    | ".join(calls)}', *rules]) + "\n"


def _in_a_row(tool: Tool, names: Sequence[str]) -> str:
    """The arguments in their order, with commas between; behind the last that is required, the row may end anywhere."""
    required = tool.parameters.get("required", ())
    num_required = max((number for number, name in enumerate(names, 1) if name in required), default=0)
    row = ""
    for number in reversed(range(len(names))):
        value = _value(tool, names[number], alone=len(names) == 1)
        row = f"{_literal(', ')} {value} {row}" if number else f"{value} {row}"
        row = row if number < max(num_required, len(names) == 1) else f"({row})?"
    return row


def _value(tool: Tool, name: str, *, alone: bool) -> str:
    schema: Mapping[str, Any] = tool.parameters["properties"][name]
    kinds = _kinds(schema)
    if options := _options(schema):
        texts = [option if isinstance(option, str) else json.dumps(option) for option in options]
        if any(re.search(_UNWRITABLE_ALONE if alone else _UNWRITABLE, text) for text in texts):
            raise ValueError(f"inline calls cannot hold the argument {name} of {tool.name}: it may have commas or parentheses")
        return f"({' | '.join(map(_literal, texts))})"
    if "string" in kinds:
        low, high = _lengths(schema)
        return _bounded_text(r"[^\s,()]", r"[^,()\n]", low, high)
    if not alone and not kinds <= _SCALARS:
        written = " or ".join(sorted(kinds))
        raise ValueError(f"inline calls with several arguments hold texts and numbers, not the {written} {name} of {tool.name}")
    if kinds <= {"integer", "number"} and schema.keys().isdisjoint(_NARROWING):
        return _WHOLE if kinds == {"integer"} else _DECIMAL
    return json_rule({**schema, **{key: tool.parameters[key] for key in ("$defs",) if key in tool.parameters}})


def _is_text(schema: Mapping[str, Any]) -> bool:
    """Whether an argument is written as text, without quotes."""
    return not _options(schema) and "string" in _kinds(schema)


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """The types of JSON that a schema allows; text where it does not say."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return {kinds}
    if kinds:
        return set(kinds)
    options = schema.get("anyOf") or schema.get("oneOf") or ()
    if options and all(isinstance(option, Mapping) for option in options):
        return set[str]().union(*map(_kinds, options))
    return {"object"} if "$ref" in schema else {"string"}


def _options(schema: Mapping[str, Any]) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _last_text(schema: Mapping[str, Any]) -> str:
    """A terminal of the text of the only argument, up to the arrow, which it does not hold itself."""
    low, high = _lengths(schema)
    # No arrow of its own, wherever it stands, so that few states tell what may follow.
    if schema.keys() & {"minLength", "maxLength"}:  # each letter counts: none that could end an arrow
        body = _bounded_text(r"[^\s>]", r"[^\n>]", low, high)[1:-1]
        return rf"/{body}\) ->/"
    return rf"/(-+[^\s>-]|[^\s-])(([^\n-]|-+[^\n>-]){{0,{high - 2}}}[^\s-])?\) ->/"


def _bounded_text(edge: str, inner: str, low: int, high: int) -> str:
    """Text of some length, whose first and last character is an `edge`: blanks there are dropped when it is read."""
    if high < 2:
        return f"/{edge}/"
    more = f"({inner}{{{max(0, low - 2)},{high - 2}}}{edge})"
    return f"/{edge}{more}{'?' if low < 2 else ''}/"


def _lengths(schema: Mapping[str, Any]) -> tuple[int, int]:
    high = min(int(schema.get("maxLength", MAX_TEXT_CHARS)), MAX_TEXT_CHARS)
    return min(int(schema.get("minLength", 1)), high), high


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
