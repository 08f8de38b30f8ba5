"""Whether a call's arguments fit their tool's schema, and what the model is told if not."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry

from lamps_jax.tools.tool import Tool, ToolError

MAX_MESSAGE_CHARS = 300
"""Longer messages of the validation are cut."""

MAX_STEPS = 25_000
"""Steps of one validation: a client's schema can stand for more work than there is time, and nobody is served meanwhile."""

REFERENCE_STEPS = 10
"""To follow a reference takes as long as so many plain keywords."""


def read_object(text: str, whose: str) -> dict[str, Any]:
    """The JSON object in `text`, which may be written as a JSON string.

    Raises:
        ToolError: If it is none; the message says where the JSON breaks.
    """
    if not text.strip():
        return {}
    value = _read(text, whose)
    if isinstance(value, str):
        value = _read(value, whose)
    if not isinstance(value, dict):
        raise ToolError(f"{whose} must be one JSON object, got {cut(text, 60)!r}")
    return value


def decoded(text: str) -> Any:
    """What `text` is as JSON; None if it is none, nests too deeply, or holds numbers or characters that JSON has no place for."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Checks `arguments` against the schema of `tool`.

    Raises:
        ToolError: If they do not fit; the message names the argument.
    """
    error = _first_error(tool, dict(arguments))
    if error is not None:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).removeprefix(".")
        value = repr(error.instance)
        message = error.message.replace(value, cut(value, 60))  # what is wrong stands behind the value
        raise ToolError(cut(f"{place}: {message}" if place else message, MAX_MESSAGE_CHARS))


def typed_argument(tool: Tool, parameter: str, text: str) -> Any:
    """`text` as it is where the schema of `parameter` takes text, otherwise as JSON where it is such and fits."""
    takes_text = tool.parameters["properties"][parameter].get("type", "string") == "string"
    if takes_text and _fits(tool, parameter, text):
        return text
    value = decoded(text)
    is_json = value is not None or text.strip() == "null"
    return value if is_json and _fits(tool, parameter, value) else text


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _fits(tool: Tool, parameter: str, value: Any) -> bool:
    return _first_error(tool, value, parameter) is None


def _read(text: str, whose: str) -> Any:
    try:
        # Line breaks inside a string are a common slip of models, and unambiguous.
        value = json.loads(text, strict=False, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 20) : error.pos + 20]
        raise ToolError(f"{whose} are not valid JSON: {error.msg} at character {error.pos + 1}, near {near!r}") from error
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{whose} are not valid JSON: {cut(str(error), 120)}") from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class _Budget(FormatChecker):
    """Counts steps: of all that a validator hands on to its parts, only its checker of formats may be an object of ours."""

    def __init__(self, num_steps: int) -> None:
        super().__init__(formats=())
        self.left = num_steps


_Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError] | None]

_LOOKED_UP = ("enum", "properties")
_FOR_EACH_ITEM = ("items", "prefixItems", "contains", "additionalProperties", "propertyNames")


def _counted(name: str, keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError] | None:
        num_steps = REFERENCE_STEPS if name in ("$ref", "$dynamicRef") else 1
        if isinstance(value, list | dict):
            num_steps += len(value) // 16 if name in _LOOKED_UP else len(value)
        if name == "dependentRequired" and isinstance(value, dict):
            num_steps += sum(map(len, value.values()))
        if name in _FOR_EACH_ITEM and isinstance(instance, list | dict):
            num_steps += len(instance)
        validator.format_checker.left -= num_steps
        if validator.format_checker.left < 0:
            raise RecursionError("it asks for more than can be checked")
        return keyword(validator, value, instance, schema)

    return check


def _all_differ(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if value and isinstance(instance, list) and len({json.dumps(item, sort_keys=True) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _unless_patterns(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError] | None:
    return None if "patternProperties" in schema else _KEYWORDS["additionalProperties"](validator, value, instance, schema)


def _unchecked(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> None:
    return None


_KEYWORDS: dict[str, _Keyword] = dict(Draft202012Validator.VALIDATORS)
_UNCHECKED = ("pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties")
_Validator = extend(
    Draft202012Validator,
    {
        name: _counted(name, keyword)
        for name, keyword in {
            **_KEYWORDS,
            # Python's regular expressions can take years, and patterns come from clients.
            **dict.fromkeys(_UNCHECKED, _unchecked),
            "additionalProperties": _unless_patterns,
            "uniqueItems": _all_differ,  # the library compares each with each
        }.items()
    },
)
"""JSON schema, draft 2020-12, without patterns."""


def _first_error(tool: Tool, value: Any, parameter: str | None = None) -> ValidationError | None:
    """What is most wrong with `value` as the arguments of `tool`, or as one of them."""
    num_steps = MAX_STEPS if parameter is None else MAX_STEPS // len(tool.parameter_names)
    validator: Any = _Validator({"type": "object", **tool.parameters}, registry=Registry(), format_checker=_Budget(num_steps))
    if parameter is not None:
        validator = validator.evolve(schema=tool.parameters["properties"][parameter])
    try:
        return best_match(validator.iter_errors(value))
    except Exception as error:  # a schema is a foreign program: it may refer to what is not there, or name unknown types
        raise ToolError(cut(f"the schema of {tool.name} cannot be used: {error}", MAX_MESSAGE_CHARS)) from error
