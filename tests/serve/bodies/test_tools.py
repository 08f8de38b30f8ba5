from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from lamps_jax.serve.bodies.tools import ToolChoice, ToolDefinition, forced_tools, tools_by_name
from lamps_jax.serve.protocol import RequestError
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.calendar import CALENDAR
from lamps_jax.tools.tool import Tool

SERVERS = {tool.name: tool for tool in (CALCULATOR, CALENDAR)}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def defined(name: str = "look", **parameters: Any) -> dict[str, Tool]:
    function = {"name": name, "parameters": parameters}
    return tools_by_name([ToolDefinition.model_validate({"type": "function", "function": function})])


def choice(value: Any) -> ToolChoice:
    return TypeAdapter[ToolChoice](ToolChoice).validate_python(value)


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


def test_a_tool_without_parameters_takes_none():
    (tool,) = tools_by_name([ToolDefinition.model_validate(named("look"))]).values()
    assert tool.parameter_names == ()


def test_names_may_have_dashes_and_strict_is_taken():
    function = {"name": "get-weather", "strict": True, "parameters": {"type": "object", "properties": {"a": {}}}}
    assert list(tools_by_name([ToolDefinition.model_validate({"type": "function", "function": function})])) == ["get-weather"]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"properties": []}, "must map names to JSON schemas"),
        ({"properties": {"a": 1}}, "must map names to JSON schemas"),
        ({"required": "a"}, "must be a list"),
        ({"required": None}, "must be a list"),
        ({"required": [["a"]]}, "required.0"),
        ({"required": ["b"]}, "required"),
        ({"properties": {"a": {"type": "text"}}}, "properties.a.type: 'text'"),
        ({"properties": {"a": {"enum": 5}}}, "properties.a.enum"),
        ({"properties": {"a": {"$ref": "https://example.com/schema"}}}, "refer to 'https://example.com/schema'"),
        ({"properties": {"a": {"anyOf": [{"$ref": "file:///etc/passwd"}]}}}, "refer to"),
        ({"$schema": 5}, "$schema"),
        ({"properties": {"a": {"description": "x" * 200_000}}}, "shorten"),
    ],
)
def test_a_schema_that_arguments_cannot_be_read_by_is_refused(parameters, says):
    with pytest.raises(RequestError) as refused:
        defined(**parameters)
    assert refused.value.param == "tools" and says in refused.value.message and len(refused.value.message) < 500


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": True}},
        {"properties": {"a": {"type": "string", "pattern": r"^\p{L}+$"}}},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "integer"}}},
        {"properties": {"a": {"items": [{"type": "integer"}]}}, "$schema": DRAFT_7},
    ],
    ids=["anything", "JavaScript's patterns", "definitions", "an older draft"],
)
def test_a_schema_may_be_what_clients_write(parameters):
    (tool,) = defined(**parameters).values()
    assert tool.parameter_names == ("a",)


def test_two_functions_of_one_name_are_refused():
    look = ToolDefinition.model_validate(named("look"))
    with pytest.raises(RequestError, match="two functions called 'look'"):
        tools_by_name([look, look])


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        ("none", []),
        ("auto", []),
        ("required", ["look"]),
        (named("look"), ["look"]),
        (named("Calendar"), ["Calendar"]),
        (allowed("auto", "look"), []),
        (allowed("auto"), []),
        (allowed("required", "Calendar", "look", "look"), ["Calendar", "look"]),
    ],
)
def test_a_choice_may_want_a_call(value, names):
    own = defined()
    assert [tool.name for tool in forced_tools(None if value is None else choice(value), own, SERVERS)] == names


def test_without_tools_of_the_clients_those_of_the_server_may_be_wanted():
    assert forced_tools(choice("required"), {}, SERVERS) == [CALCULATOR, CALENDAR]


def test_the_clients_tool_goes_before_the_servers_of_its_name():
    own = defined("Calculator")
    assert forced_tools(choice(named("Calculator")), own, SERVERS) == [own["Calculator"]]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("required", "there is none"),
        (named("look"), "names 'look', which is not among the tools"),
        (allowed("auto", "look"), "names 'look'"),
        (allowed("required"), "there is none"),
    ],
)
def test_a_call_of_what_is_not_there_is_refused(value, says):
    with pytest.raises(RequestError) as refused:
        forced_tools(choice(value), {}, {})
    assert refused.value.param == "tool_choice" and says in refused.value.message


def test_the_schemas_of_a_request_are_limited_together():
    each = {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 100_000}}}
    functions = [{"name": f"f{number}", "parameters": each} for number in range(6)]
    definitions = [ToolDefinition.model_validate({"type": "function", "function": function}) for function in functions]
    assert len(tools_by_name(definitions[:5])) == 5
    with pytest.raises(RequestError, match="all tools together"):
        tools_by_name(definitions)


def test_a_schema_that_comes_again_is_not_checked_again(monkeypatch):
    checked: list[Any] = []
    plain = Draft202012Validator.check_schema
    monkeypatch.setattr(
        Draft202012Validator, "check_schema", lambda schema, **more: checked.append(schema) or plain(schema, **more)
    )
    for _ in range(3):
        assert defined(properties={"once": {"type": "string"}})
        with pytest.raises(RequestError, match="'look' are no JSON schema"):
            defined(properties={"once": {"type": "strin"}})
        with pytest.raises(RequestError, match="'other' are no JSON schema"):
            defined("other", properties={"once": {"type": "strin"}})
    assert len(checked) == 2
