from typing import Any

import pytest

from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.formats.inline_grammar import inline_grammar
from lamps_jax.tools.tool import Tool
from tests.tools.formats.reading import NOW, SEARCH, WEATHER, make_tool, named, read
from tests.tools.formats.walks import allows, tokenizer, walk

PLAN = make_tool(
    "plan", ("kind", "count"), kind={"enum": ["fast", "slow"]}, count={"type": "integer", "minimum": 0}, sure="boolean"
)
SHORT = make_tool("short", word={"type": "string", "minLength": 2, "maxLength": 5})
COUNT = make_tool("count", number={"anyOf": [{"type": "integer"}, {"type": "null"}]})
LIST = make_tool("sum", numbers={"type": "array", "items": {"type": "integer"}})
FREE = make_tool("free", (), a="string", b="number")
ALL = [WEATHER, SEARCH, NOW, PLAN, SHORT, COUNT, LIST, FREE]


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_whatever_the_grammar_allows_is_a_call_with_valid_arguments(tool: Tool):
    grammar = inline_grammar([tool])
    for seed in range(15):
        text = walk(grammar, tokenizer(), seed=seed)
        assert text is not None
        shown, calls = read(INLINE, [text], named(tool))
        assert (shown.strip(), [name for name, _ in calls]) == ("|", [tool.name])
        INLINE.parse_arguments(tool, WrittenCall(*calls[0]))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("[now() ->", {}),
        (" [Search(f(x), or [y] - 1 > 2) ->", {"query": "f(x), or [y] - 1 > 2"}),
        ("[get_weather(Oslo) ->", {"city": "Oslo"}),
        ("[get_weather(New York, 3) ->", {"city": "New York", "days": 3}),
        ("[plan(fast, 0, true) ->", {"kind": "fast", "count": 0, "sure": True}),
        ("[plan(slow, 12) ->", {"kind": "slow", "count": 12}),
        ("[short(ab) ->", {"word": "ab"}),
        ("[count(null) ->", {"number": None}),
        ("[sum([1, 2]) ->", {"numbers": [1, 2]}),
        ("[free() ->", {}),
        ("[free(x, 1.5) ->", {"a": "x", "b": 1.5}),
    ],
)
def test_calls_that_the_parser_reads_are_allowed(text: str, arguments: dict[str, Any]):
    assert allows(inline_grammar(ALL), text, tokenizer())
    ((name, written),) = read(INLINE, [text], named(*ALL))[1]
    parsed = INLINE.parse_arguments(named(*ALL)[name], WrittenCall(name, written))
    assert parsed == arguments


@pytest.mark.parametrize(
    "text",
    [
        *("", "hello", "[nobody(x) ->", "[now(x) ->", "[Search() ->", "[Search(x)", "[Search(x) -> y", "[Search( x) ->"),
        *("[Search(a) ->b) ->", "[get_weather(Oslo, many) ->", "[get_weather(a,b) ->", "[plan(medium, 1) ->", "[plan(fast) ->"),
        *("[plan(fast, -1) ->", "[short(a) ->", "[short(abcdef) ->", "[sum(1) ->", "[free(x, y) ->", "x [now() ->"),
    ],
)
def test_other_texts_are_not(text: str):
    assert not allows(inline_grammar(ALL), text, tokenizer())


@pytest.mark.parametrize(
    ("properties", "complaint"),
    [
        ({"a": "string", "b": "array"}, "hold texts and numbers, not the array b of T"),
        ({"a": {"enum": ["x", "y, z"]}, "b": "string"}, "cannot hold the argument a of T"),
        ({"a": {"const": " x"}}, "cannot hold the argument a of T"),
    ],
)
def test_arguments_that_cannot_be_written_in_a_row_are_refused(properties: dict[str, Any], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        inline_grammar([make_tool("T", **properties)])


def test_without_tools_there_is_nothing_to_call():
    with pytest.raises(ValueError, match="no tools"):
        inline_grammar([])
