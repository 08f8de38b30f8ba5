from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.formats.inline import INLINE, MAX_CALL_CHARS, InlineCallParser, render_arguments
from lamps_jax.tools.tool import Tool, ToolError
from tests.tools.formats.reading import cut, make_tool, named, read

NAMES = frozenset({"Calc", "Calculator", "Search"})
TOOLS = named(*(make_tool(name, text="string") for name in NAMES))

fragments = st.sampled_from([*"[()] aé\n", "->", ")->", ") ->", "[Calc", "[Calculator(", "[Search(x", "[Other("])
texts = st.lists(fragments, max_size=14).map("".join)


def events(pieces: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Text with a mark for each call, and the calls."""
    return read(INLINE, pieces, TOOLS)


@given(texts, st.lists(st.integers(0, 100), max_size=10))
def test_text_and_calls_are_the_same_however_the_text_is_cut(text: str, at: list[int]):
    assert events(cut(text, at)) == events([text])


@given(texts)
def test_a_character_at_a_time_is_as_good_as_all_at_once(text: str):
    assert events(list(text)) == events([text])


@pytest.mark.parametrize("surplus", [-1, 0, 1, 500])
def test_the_longest_call_is_the_same_however_the_text_is_cut(surplus: int):
    head, tail = "[Calc(", ") ->"
    text = head + "1" * (MAX_CALL_CHARS - len(head) - len(tail) + surplus) + tail + "end"
    whole = events([text])
    assert whole == events(cut(text, [7, 1000, 1999, 2000, 2001]))
    assert whole == events(list(text))
    assert len(whole[1]) == (surplus <= 0)


@given(st.text(max_size=60).filter(lambda text: ") ->" not in text and ")->" not in text))
@example("[Calc(1+1) = 2]")
@example("a [b] [[Calc] [Calc (1)] [")
def test_text_without_calls_passes_unchanged(text: str):
    assert events(list(text)) == (text, [])


def test_text_that_cannot_become_a_call_is_not_held_back():
    parser = InlineCallParser(NAMES)
    for piece in ("plain", " a] (b) ->", "[1]", "[x(", "[Calcu]", "[Calculators("):
        assert parser.feed(piece) == (piece, None)
    assert parser.flush() == ("", None)


@pytest.mark.parametrize("piece", ["[", "[C", "[Calc", "[Calc(", "[Calculator(1) ", "[Search(a [b] c)-"])
def test_text_that_may_become_a_call_is_held_back(piece: str):
    parser = InlineCallParser(NAMES)
    assert parser.feed("so " + piece) == ("so ", None)
    assert parser.flush() == (piece, None)


@pytest.mark.parametrize(
    "arguments",
    ["", "1+1", "(41+22)/3", "sqrt(144)", "((1))", 'it\'s, or "not"', "a, b", "x > y", "1 - (-2)", "a [b] c", "f(x) - >", "é漢"],
)
@pytest.mark.parametrize("arrow", ["->", " ->", "  ->", "\n->"])
def test_arguments_stay_whole(arguments: str, arrow: str):
    assert events([f"so [Calc({arguments}){arrow}"]) == ("so |", [("Calc", arguments)])


def test_blanks_around_arguments_are_dropped():
    assert events(["[Calc(  1 + 1 )->"])[1] == [("Calc", "1 + 1")]


def test_an_unknown_tool_is_text_and_a_call_inside_its_arguments_is_found():
    assert events(["[Other([Calc(1)->"]) == ("[Other(|", [("Calc", "1")])


def test_of_two_names_one_the_beginning_of_the_other_the_written_one_is_called():
    assert events(["[Calc(1)->[Calculator(2)->"])[1] == [("Calc", "1"), ("Calculator", "2")]


def test_what_stands_behind_the_arrow_is_surplus():
    assert InlineCallParser(NAMES).feed("a [Calc(1) -> 7] b") == ("a ", WrittenCall("Calc", "1", " 7] b"))


def test_a_bracket_that_stays_open_is_text_in_the_end():
    text = "[Calc(" + "1" * (MAX_CALL_CHARS + 100)
    parser = InlineCallParser(NAMES)
    shown = "".join(parser.feed(character)[0] for character in text)
    assert shown == text


@pytest.mark.parametrize(("result", "text"), [("7", " 7]"), ("", " ]"), (" a\n b\t\tc ", " a b c]"), ("x] y", " x] y]")])
def test_a_result_is_one_line_and_closes_the_bracket(result: str, text: str):
    assert INLINE.result_text(WrittenCall("Calc", "1"), result) == text


def tool_with(required: tuple[str, ...] = (), **types: Any) -> Tool:
    return make_tool("T", required, **types)


def parsed(tool: Tool, text: str) -> dict[str, Any]:
    return INLINE.parse_arguments(tool, WrittenCall(tool.name, text))


@pytest.mark.parametrize(
    ("tool", "text", "arguments"),
    [
        (tool_with(a="string"), "x, y (z)", {"a": "x, y (z)"}),
        (tool_with(a="string"), "42", {"a": "42"}),
        (tool_with(a="integer"), "42", {"a": 42}),
        (tool_with(a={"type": ["integer", "string"]}), "many", {"a": "many"}),
        (tool_with(a={"anyOf": [{"type": "integer"}, {"type": "null"}]}), "42", {"a": 42}),
        (tool_with(a={"enum": ["42", 7]}), "42", {"a": "42"}),
        (tool_with(a={"enum": ["42", 7]}), "7", {"a": 7}),
        (tool_with(a="array"), "[1, 2]", {"a": [1, 2]}),
        (tool_with(a="string", b="string"), "x,y", {"a": "x", "b": "y"}),
        (tool_with(a="string", b="number", c="boolean"), " x , 1.5 ,true", {"a": "x", "b": 1.5, "c": True}),
        (tool_with(("a",), a="string", b="string"), "x", {"a": "x"}),
        (tool_with(a="string", b="string"), "", {}),
        (tool_with(), "", {}),
    ],
)
def test_written_arguments_get_the_names_and_types_of_the_schema(tool: Tool, text: str, arguments: dict[str, Any]):
    assert parsed(tool, text) == arguments


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        (tool_with(), "x"),
        (tool_with(a="string", b="string"), "x,y,z"),
        (tool_with(("a", "b"), a="string", b="string"), "x"),
        (tool_with(("a", "b"), a="string", b="string"), ""),
    ],
)
def test_too_few_or_too_many_arguments_are_refused_with_the_names(tool: Tool, text: str):
    with pytest.raises(ToolError, match="T takes the arguments"):
        parsed(tool, text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"expression": "1+1"}', "1+1"),
        ({"expression": "1+1"}, "1+1"),
        ('{"a": "x", "b": 2, "c": true}', "x, 2, true"),
        ("1+1", "1+1"),
        ("not {json", "not {json"),
        ("[1, 2]", "[1, 2]"),
        ("{}", ""),
    ],
)
def test_arguments_of_the_openai_api_are_written_as_a_model_would(arguments: Any, text: str):
    assert render_arguments(arguments) == text


@given(st.lists(st.text("abc123", min_size=1), min_size=2, max_size=4))
def test_what_is_written_for_several_arguments_is_read_back(values: list[str]):
    tool = tool_with(**{f"p{number}": "string" for number in range(len(values))})
    arguments = dict(zip(tool.parameter_names, values, strict=True))
    assert parsed(tool, render_arguments(arguments)) == arguments


@pytest.mark.parametrize("written", ["NaN", "Infinity", "[" * 1900, '"\\ud800"', "seven", "1.5"])
def test_what_is_not_of_the_type_that_the_schema_asks_for_is_refused_by_name(written: str):
    with pytest.raises(ToolError, match=r"number: .*is not of type 'integer'"):
        parsed(tool_with(number="integer"), written)
    assert parsed(tool_with(number={"type": ["integer", "string"]}), written) == {"number": written}
    assert render_arguments(written) == written


def test_nothing_is_said_of_tools_for_the_model_knows_them():
    assert INLINE.tool_prompt([{"type": "function", "function": {"name": "f"}}]) == ""


def test_a_name_with_dashes_and_dots_is_called():
    tools = named(make_tool("get-weather.v2", city="string"))
    assert read(INLINE, list("so [get-weather.v2(Oslo) -> x"), tools) == ("so | x", [("get-weather.v2", "Oslo")])
