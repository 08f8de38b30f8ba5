import time
from typing import Any

import pytest

from lamps_jax.tools.formats.arguments import (
    MAX_MESSAGE_CHARS,
    check_arguments,
    cut,
    decoded,
    read_object,
    typed_argument,
)
from lamps_jax.tools.tool import Tool, ToolError
from tests.tools.formats.reading import make_tool


def schema_tool(**schema: Any) -> Tool:
    return Tool("T", "", {"type": "object", **schema}, str)


NESTED = schema_tool(
    properties={"legs": {"type": "array", "items": {"$ref": "#/$defs/leg"}}},
    **{"$defs": {"leg": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}}},
)


def test_arguments_that_fit_are_taken():
    check_arguments(NESTED, {"legs": [{"to": "a"}, {"to": "b", "more": 1}]})
    check_arguments(make_tool("T", a={"type": "integer", "minimum": 1}), {"a": 1})


@pytest.mark.parametrize(
    ("tool", "arguments", "complaint"),
    [
        (NESTED, {"legs": [{"to": "a"}, {"to": 1}]}, r"^legs\[1\].to: 1 is not of type 'string'$"),
        (NESTED, {"legs": [{}]}, r"^legs\[0\]: 'to' is a required property$"),
        (make_tool("T", a={"type": "integer", "minimum": 1}), {"a": 0}, "^a: 0 is less than the minimum of 1$"),
        (make_tool("T", a="string"), {"a": "x", "b": 1}, r"'b' was unexpected"),
        (make_tool("T", a="string"), {}, "^'a' is a required property$"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_their_place(tool: Tool, arguments: dict[str, Any], complaint: str):
    with pytest.raises(ToolError, match=complaint):
        check_arguments(tool, arguments)


def test_a_long_value_does_not_hide_what_is_wrong_with_it():
    with pytest.raises(ToolError, match=r"is not of type 'integer'$") as refused:
        check_arguments(make_tool("T", a="integer"), {"a": "x" * 10_000})
    assert len(str(refused.value)) <= MAX_MESSAGE_CHARS


def test_a_long_message_is_cut():
    with pytest.raises(ToolError) as refused:
        check_arguments(make_tool("T", a={"enum": [f"option {number}" for number in range(1000)]}), {"a": "x"})
    assert len(str(refused.value)) == MAX_MESSAGE_CHARS


def test_a_pattern_that_would_take_for_ever_is_not_tried():
    slow = {"type": "string", "pattern": "^(a+)+$"}
    tool = schema_tool(properties={"a": slow}, patternProperties={"^(b+)+$": {"type": "string"}}, additionalProperties=False)
    began = time.process_time()
    check_arguments(tool, {"a": "a" * 40 + "!", "b" * 40 + "!": "x"})
    assert time.process_time() - began < 5


def doubling(depth: int) -> Tool:
    """A schema whose references stand for 2 to the power of `depth` checks."""
    steps = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(depth)}
    return schema_tool(properties={"a": {"$ref": "#/$defs/d0"}}, **{"$defs": {**steps, f"d{depth}": {"type": "string"}}})


def test_references_that_stand_for_endless_work_are_given_up():
    check_arguments(doubling(8), {"a": "x"})
    for tool in (doubling(60), schema_tool(properties={"a": {"$ref": "#/properties/a"}})):
        with pytest.raises(ToolError, match="the schema of T cannot be used"):
            check_arguments(tool, {"a": "x"})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"anyOf": [{"type": "integer"}] * 5000}}, ["x"] * 300),
        ({"items": {"allOf": [True] * 20_000}}, ["x"] * 300),
        ({"items": {"required": [f"r{number}" for number in range(10_000)]}}, [{}] * 100),
        ({"items": {"dependentRequired": {"a": [f"r{number}" for number in range(10_000)]}}}, [{"a": 1}] * 100),
        ({"allOf": [{"contains": {"type": "integer"}}] * 4000}, ["x"] * 300),
        ({"items": {"enum": [f"e{number}" for number in range(12_000)]}}, ["x"] * 1000),
    ],
)
def test_a_schema_that_stands_for_endless_work_is_given_up(schema: dict[str, Any], value: Any):
    began = time.process_time()
    with pytest.raises(ToolError, match="the schema of T cannot be used: it asks for more than can be checked"):
        check_arguments(schema_tool(properties={"a": schema}), {"a": value})
    assert time.process_time() - began < 5


def test_large_arguments_of_an_ordinary_schema_are_checked():
    row = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(8)}, "required": ["p0", "p7"]}
    tool = schema_tool(properties={"rows": {"type": "array", "items": row}})
    rows = [{f"p{number}": "x" for number in range(8)} for _ in range(500)]
    check_arguments(tool, {"rows": rows})
    with pytest.raises(ToolError, match=r"rows\[499\]\.p7: 1 is not of type 'string'"):
        check_arguments(tool, {"rows": [*rows[:499], {**rows[499], "p7": 1}]})


def test_what_stands_twice_is_found_without_comparing_each_with_each():
    tool = schema_tool(properties={"a": {"uniqueItems": True}})
    differing = [{"number": number} for number in range(3000)]
    began = time.process_time()
    check_arguments(tool, {"a": differing})
    assert time.process_time() - began < 5
    with pytest.raises(ToolError, match="has non-unique elements"):
        check_arguments(tool, {"a": [*differing, {"number": 7}]})


@pytest.mark.parametrize("property_schema", [{"$ref": "#/$defs/missing"}, {"type": "strin"}])
def test_a_schema_that_is_none_is_an_error_and_no_crash(property_schema: dict[str, Any]):
    with pytest.raises(ToolError, match="the schema of T cannot be used"):
        check_arguments(schema_tool(properties={"a": property_schema}), {"a": "x"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (" ", {}),
        ('{"a": [1, "é"]}', {"a": [1, "é"]}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": "x\ty"}', {"a": "x\ty"}),
    ],
)
def test_an_object_is_read(text: str, value: dict[str, Any]):
    assert read_object(text, "the arguments") == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 1', r"not valid JSON: Expecting ',' delimiter at character 8, near '{\"a\": 1'"),
        ("{" + " " * 100 + "a", r"at character 102, near ' {19}a'|near ' {20}a'"),
        ('{"a": Infinity}', "not valid JSON: Infinity is not JSON"),
        ('{"a": "\\ud800"}', "not valid JSON: .*surrogates not allowed"),
        ('{"a":' * 5000, "not valid JSON"),
        ("7", "must be one JSON object, got '7'"),
    ],
)
def test_what_is_no_object_is_refused_with_the_place(text: str, complaint: str):
    with pytest.raises(ToolError, match=complaint) as refused:
        read_object(text, "the arguments")
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "7", "7"),
        ({"type": "integer"}, "7", 7),
        ({"type": "integer"}, "x", "x"),
        ({"type": ["integer", "null"]}, "null", None),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "7", "7"),
        ({"$ref": "#/$defs/count"}, "7", 7),
        ({}, "7", "7"),
    ],
)
def test_text_becomes_what_the_schema_wants(schema: dict[str, Any], text: str, value: Any):
    tool = schema_tool(properties={"a": schema}, **{"$defs": {"count": {"type": "integer"}}})
    assert typed_argument(tool, "a", text) == value


def test_what_json_cannot_carry_is_not_decoded():
    assert [decoded(text) for text in ("NaN", "[" * 5000, '"\\ud800"', "x", "1.5")] == [None, None, None, None, 1.5]


def test_a_text_is_cut_to_its_limit():
    assert (cut("abcdef", 6), cut("abcdefg", 6)) == ("abcdef", "abc...")
