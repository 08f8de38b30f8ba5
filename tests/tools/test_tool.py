from typing import Any

import pytest

from lamps_jax.tools.tool import Tool, ToolError, ToolUnavailable, one_string


def tool(**fields: Any) -> Tool:
    return Tool(**({"name": "Echo", "description": "", "parameters": one_string("text", ""), "function": str} | fields))


@pytest.mark.parametrize("name", ["a", "_", "get-weather", "fs.read_file", "Calculator", "x" * 64])
def test_names_of_openai_and_of_mcp_are_taken(name: str):
    assert tool(name=name).name == name


@pytest.mark.parametrize("name", ["", "two words", "1st", "-a", "[Echo", "Echo(", "Wörter", "x" * 65, "a\n", "a/b", 3])
def test_a_name_that_cannot_be_written_in_a_call_is_refused(name: Any):
    with pytest.raises(ValueError, match="a tool's name must be a letter or _"):
        tool(name=name)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("timeout_s", 0.0, "positive"),
        ("timeout_s", -1.0, "positive"),
        ("timeout_s", float("inf"), "positive"),
        ("timeout_s", float("nan"), "positive"),
        ("timeout_s", "5", "positive"),
        ("max_result_chars", 0, "positive, a whole number"),
        ("max_result_chars", 1.5, "positive, a whole number"),
        ("max_concurrency", 0, "positive, a whole number"),
        ("max_concurrency", True, "positive, a whole number"),
        ("max_retries", -1, "0 or more, a whole number"),
        ("max_retries", None, "0 or more, a whole number"),
        ("retry_delay_s", -0.1, "0 or more"),
    ],
)
def test_a_limit_that_allows_nothing_is_refused_by_name(field: str, value: Any, allowed: str):
    with pytest.raises(ValueError, match=f"{field} of tool Echo must be {allowed}, got {value!r}"):
        tool(**{field: value})


def test_a_tool_runs_once_and_in_any_number_unless_it_says_otherwise():
    assert (tool().max_retries, tool().max_concurrency) == (0, None)


@pytest.mark.parametrize(
    ("field", "value"), [("description", None), ("function", "str"), ("parameters", []), ("parameters", None)]
)
def test_what_is_not_of_its_type_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=f"{field} of tool Echo must be"):
        tool(**{field: value})


def test_parameters_are_in_the_order_of_the_schema():
    properties = {name: {"type": "string"} for name in ("zulu", "alpha", "mike")}
    assert tool(parameters={"type": "object", "properties": properties}).parameter_names == ("zulu", "alpha", "mike")


def test_a_schema_without_properties_has_no_parameters():
    assert tool(parameters={"type": "object"}).parameter_names == ()


@pytest.mark.parametrize("kind", ["string", ["object"], None])
def test_a_schema_of_anything_but_an_object_is_refused(kind: Any):
    with pytest.raises(ValueError, match="must be a JSON schema of an object"):
        tool(parameters={"type": kind})


@pytest.mark.parametrize("reference", ["http://127.0.0.1/secret.json", "other.json#/a"])
def test_a_schema_that_would_have_to_be_fetched_is_refused(reference: str):
    schema = {"properties": {"a": {"anyOf": [{"$ref": reference}]}}}
    with pytest.raises(ValueError, match=r"refer to '.*', outside of their schema; put what is meant under \$defs"):
        tool(parameters=schema)


def test_a_schema_may_refer_to_its_own_parts_and_have_a_parameter_of_that_name():
    schema = {"properties": {"a": {"$ref": "#/$defs/word"}, "$ref": {"type": "string"}}, "$defs": {"word": {"type": "string"}}}
    assert tool(parameters=schema).parameter_names == ("a", "$ref")


def test_a_schema_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        tool(parameters={"properties": {"a": {"default": {1, 2}}}})


def test_one_string_is_a_required_string_and_nothing_else():
    schema = one_string("query", "What to look for")
    assert schema["properties"] == {"query": {"type": "string", "description": "What to look for"}}
    assert schema["required"] == ["query"]
    assert schema["additionalProperties"] is False


def test_the_function_is_not_part_of_how_a_tool_looks():
    assert "function" not in repr(tool())


@pytest.mark.parametrize("required", [[{}], ["nobody"], "expression", None])
def test_required_must_list_properties(required: object) -> None:
    schema = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": required}
    with pytest.raises(ValueError, match="required of tool T"):
        Tool("T", "", schema, str)


def test_being_unavailable_is_an_error_for_the_model():
    assert issubclass(ToolUnavailable, ToolError)
