import asyncio
import dataclasses
import datetime
import enum
import json
import typing
from decimal import Decimal
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
import typing_extensions
from pydantic import Field

from lamps_jax.tools.define import ToolDefinitionError, tool
from lamps_jax.tools.tool import Tool, ToolError
from tests.tools.calls import Caller


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    """A place in the plane."""

    x: float
    y: float = 0.0


class Address(pydantic.BaseModel):
    street: str
    title: str = "home"


class Size(typing_extensions.TypedDict):
    width: int


VALUES: list[tuple[Any, Any, Any]] = [
    (str, "text", "text"),
    (int, 3, 3),
    (float, 2, 2.0),
    (bool, True, True),
    (list[int], [1, 2], [1, 2]),
    (dict[str, float], {"a": 1.5}, {"a": 1.5}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2], {1, 2}),
    (int | None, None, None),
    (int | str, "a", "a"),
    (Literal["a", "b"], "b", "b"),
    (Colour, "blue", Colour.BLUE),
    (Point, {"x": 1}, Point(1.0)),
    (Address, {"street": "Elm"}, Address(street="Elm")),
    (Size, {"width": 3}, {"width": 3}),
    (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
    (Decimal, "1.10", Decimal("1.10")),
    (Annotated[int, Field(ge=1, le=9)], 9, 9),
    (Annotated[str, "a word"], "x", "x"),
    (Any, [{"a": None}], [{"a": None}]),
]


@pytest.mark.parametrize(("hint", "given", "seen"), VALUES, ids=lambda value: str(value)[:30])
def test_a_function_gets_values_of_the_types_that_its_hints_name(hint: Any, given: Any, seen: Any):
    got = []

    def take(value) -> None:
        got.append(value)

    take.__annotations__["value"] = hint
    made = tool(take)
    jsonschema.Draft202012Validator.check_schema(dict(made.parameters))
    jsonschema.validate({"value": given}, dict(made.parameters))
    made.function(value=given)
    assert got == [seen]
    assert type(got[0]) is type(seen)


@tool
def forecast(city: Annotated[str, "Where"], days: Annotated[int, Field(ge=1, le=9)] = 3, *, colour: Colour = Colour.RED) -> Any:
    """Says what the weather
    will be.

    At length.

    Args:
        city: not shown, for the hint says it
        days: How many days.
    """
    return {"city": city, "days": days, "colour": colour}


def test_name_description_and_schema_come_from_the_function():
    assert (forecast.name, forecast.description) == ("forecast", "Says what the weather will be.")
    assert forecast.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["city"],
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "days": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many days.", "default": 3},
            "colour": {"$ref": "#/$defs/Colour"},
        },
        "$defs": {"Colour": {"type": "string", "enum": ["red", "blue"]}},
    }


def test_what_a_call_leaves_out_has_the_functions_own_default():
    assert json.loads(forecast.function(city="Oslo")) == {"city": "Oslo", "days": 3, "colour": "red"}


def test_the_decorator_takes_the_limits_of_a_tool_and_another_name():
    @tool(name="get-it", timeout_s=1.5, max_concurrency=2, max_retries=3, retry_delay_s=0.1, max_result_chars=77)
    def get() -> str:
        return "it"

    limits = (get.timeout_s, get.max_concurrency, get.max_retries, get.retry_delay_s, get.max_result_chars)
    assert (get.name, limits) == ("get-it", (1.5, 2, 3, 0.1, 77))
    assert get.function() == "it"


def test_without_limits_they_are_those_of_any_tool():
    by_hand = Tool("forecast", "", {}, str)
    for limit in ("timeout_s", "max_concurrency", "max_retries", "retry_delay_s", "max_result_chars", "stateful"):
        assert getattr(forecast, limit) == getattr(by_hand, limit)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"city": 3}, "city: Input should be a valid string"),
        ({"city": "Oslo", "days": 0}, "days: Input should be greater than or equal to 1"),
        ({"city": "Oslo", "colour": "green"}, "colour: Input should be 'red' or 'blue'"),
        ({}, "city: Field required"),
        ({"city": "Oslo", "country": "no"}, "country: Extra inputs are not permitted"),
    ],
)
def test_arguments_that_the_schema_forbids_are_an_error_for_the_model(given: dict[str, Any], told: str):
    with pytest.raises(ToolError, match=told):
        forecast.function(**given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is: ä", "as it is: ä"),
        (None, "null"),
        (42, "42"),
        (1.5, "1.5"),
        ([1, "ä"], '[1,"ä"]'),
        ({"a": datetime.date(2024, 2, 29)}, '{"a":"2024-02-29"}'),
        (Point(1.0), '{"x":1.0,"y":0.0}'),
        (Address(street="Elm"), '{"street":"Elm","title":"home"}'),
        (Colour.RED, '"red"'),
        ((1, 2), "[1,2]"),
        (float("nan"), '"NaN"'),
    ],
)
def test_texts_are_returned_as_they_are_and_everything_else_as_json(value: Any, text: str):
    def get() -> Any:
        return value

    assert tool(get).function() == text


def test_a_function_that_is_async_is_awaited(caller: Caller):
    @tool
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert caller.result(double, number=21) == "42"
    assert caller.error(double, number="x").startswith("error: number: Input should be a valid integer")


def test_an_error_of_the_model_is_told_and_any_other_is_not(caller: Caller):
    @tool
    def divide(a: int, b: int) -> float:
        if a < 0:
            raise ToolError("no debts")
        return a / b

    assert caller.error(divide, a=-1, b=1) == "error: no debts"
    assert caller.error(divide, a=1, b=0) == "error: the tool failed (ZeroDivisionError)"


def test_a_mistake_inside_the_function_is_not_taken_for_one_of_the_arguments():
    @tool
    def read(text: str) -> Any:
        return Address.model_validate_json(text)

    with pytest.raises(pydantic.ValidationError):
        read.function(text="{}")


def test_parameters_may_be_called_what_a_model_of_pydantic_may_not():
    @tool
    def odd(copy: int, json: int, _x: int, model_config: int, self: int, given: int) -> list[int]:
        return [copy, json, _x, model_config, self, given]

    assert odd.parameter_names == ("copy", "json", "_x", "model_config", "self", "given")
    assert odd.function(**{name: number for number, name in enumerate(odd.parameter_names)}) == "[0,1,2,3,4,5]"


def test_a_stateful_function_gets_its_state_which_no_call_gives():
    @tool(stateful=True)
    def count(by: int, state: dict[str, int]) -> int:
        state["sum"] = state.get("sum", 0) + by
        return state["sum"]

    state: dict[str, int] = {}
    assert count.parameter_names == ("by",)
    assert [count.function(by=2, state=state), count.function(by=3, state=state)] == ["2", "5"]


def test_an_argument_called_state_is_any_other_where_the_tool_is_not_stateful():
    @tool
    def move(state: str) -> str:
        return state

    assert move.function(state="Ohio") == "Ohio"


def unhinted(city, days: int = 1):
    return ""


def starred(*cities: str):
    return ""


def keyworded(**cities: str):
    return ""


def positional(city: str, /):
    return ""


def of_a_foreign_type(city: "threading.Lock"):
    return ""


def of_no_schema(call: typing.Callable[[], int]):
    return ""


def yields(city: str):
    yield city


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (unhinted, "has no type hint for 'city'; write for example city: str"),
        (starred, "takes '\\*cities: str', which cannot be given by name"),
        (keyworded, "takes '\\*\\*cities: str', which cannot be given by name"),
        (positional, "takes 'city: str', which cannot be given by name"),
        (of_a_foreign_type, "has a type hint that cannot be read: name 'threading' is not defined"),
        (of_no_schema, "has a type hint that cannot be used: Cannot generate a JsonSchema"),
        (yields, "yields its results; return one instead"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_that_cannot_be_a_tool_is_named_with_its_place(function: Any, said: str):
    with pytest.raises(ToolDefinitionError, match=rf"test_define\.py:\d+: the function {function.__name__} {said}") as raised:
        tool(function)
    assert "\n" not in str(raised.value)


def test_a_limit_that_allows_nothing_is_named_with_its_function():
    with pytest.raises(ToolDefinitionError, match=r"test_define\.py:\d+: .* timeout_s of tool get must be positive, got 0"):

        @tool(timeout_s=0)
        def get() -> str:
            return ""


def test_a_stateful_function_without_state_is_refused():
    with pytest.raises(ToolDefinitionError, match="is stateful, but has no parameter 'state'"):
        tool(stateful=True)(unhinted)


def test_what_is_no_function_is_refused():
    with pytest.raises(ToolDefinitionError, match="makes a tool of a function, got"):
        tool(Point)
