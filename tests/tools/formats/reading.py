"""Texts cut into pieces, what a parser makes of them, and tools to call in them."""

from itertools import pairwise
from typing import Any

from lamps_jax.tools.formats.call_format import CallFormat
from lamps_jax.tools.tool import Tool


def make_tool(tool_name: str, required: tuple[str, ...] | None = None, **properties: Any) -> Tool:
    """A tool whose parameters have these schemas, or these types; all required unless said otherwise."""
    schemas = {name: {"type": schema} if isinstance(schema, str) else schema for name, schema in properties.items()}
    needed = list(schemas if required is None else required)
    parameters = {"type": "object", "properties": schemas, "required": needed, "additionalProperties": False}
    return Tool(tool_name, f"Does {tool_name}.", parameters, str)


def named(*tools: Tool) -> dict[str, Tool]:
    """Tools by their names."""
    return {tool.name: tool for tool in tools}


WEATHER = make_tool("get_weather", ("city",), city="string", days="integer")
SEARCH = make_tool("Search", query="string")
NOW = make_tool("now")
TOOLS = named(WEATHER, SEARCH, NOW)


def cut(text: str, at: list[int]) -> list[str]:
    """`text` in pieces, cut at the given places."""
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[start:end] for start, end in pairwise(borders)]


def read(call_format: CallFormat, pieces: list[str], tools: dict[str, Tool] = TOOLS) -> tuple[str, list[tuple[str, str]]]:
    """Text with a mark for each call, and the calls; what stands behind a call is fed again."""
    parser, shown, calls = call_format.parser(tools), "", list[tuple[str, str]]()
    queue = list(pieces)
    while queue:
        plain, call = parser.feed(queue.pop(0))
        shown += plain
        if call:
            shown += "|"
            calls.append((call.name, call.arguments))
            queue.insert(0, call.begun + call.surplus)
    plain, call = parser.flush()
    if call:
        return f"{shown}{plain}|", [*calls, (call.name, call.arguments)]
    return shown + plain, calls
