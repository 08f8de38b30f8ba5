from typing import Any

import pytest

from lamps_jax.tools.tool import Tool, one_string


def tool(**fields: Any) -> Tool:
    return Tool(**({"name": "Echo", "description": "", "parameters": one_string("text", ""), "function": str} | fields))


@pytest.mark.parametrize("name", ["", "two words", "1st", "a-b", "[Echo", "Echo("])
def test_a_name_that_cannot_be_written_in_a_call_is_refused(name: str):
    with pytest.raises(ValueError, match="must be a Python identifier"):
        tool(name=name)


@pytest.mark.parametrize(("field", "value"), [("timeout_s", 0.0), ("timeout_s", -1.0), ("max_result_chars", 0)])
def test_a_limit_that_allows_nothing_is_refused_by_name(field: str, value: float):
    with pytest.raises(ValueError, match=f"{field} of tool Echo must be positive, got {value}"):
        tool(**{field: value})


def test_parameters_are_in_the_order_of_the_schema():
    properties = {name: {"type": "string"} for name in ("zulu", "alpha", "mike")}
    assert tool(parameters={"type": "object", "properties": properties}).parameter_names == ("zulu", "alpha", "mike")


def test_a_schema_without_properties_has_no_parameters():
    assert tool(parameters={"type": "object"}).parameter_names == ()


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
