"""Tools from Python functions: ``@tool`` reads the JSON schema from the type hints and the descriptions from the docstring."""

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, overload

import pydantic
import pydantic_core
from pydantic.errors import PydanticUserError

from lamps_jax.tools.docstring import argument_descriptions, first_paragraph
from lamps_jax.tools.tool import Tool, ToolError

MAX_PROBLEMS_SHOWN = 3


class ToolDefinitionError(ValueError):
    """A function that cannot be made a tool; says where it stands."""


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    timeout_s: float = 10.0,
    max_concurrency: int | None = None,
    max_retries: int = 0,
    retry_delay_s: float = 0.5,
    max_result_chars: int = 4000,
    stateful: bool = False,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None, **limits: Any) -> Any:
    """Makes a tool of a function, as ``@tool`` or, with limits, as ``@tool(timeout_s=5.0)``.

    Each parameter needs a type hint, of any type that pydantic makes a JSON schema of; the function gets values of these types.
    A parameter with a default value may be left out of a call. It is described by a text in ``Annotated[int, "…"]`` or in the
    docstring's section ``Args:``; the docstring's first paragraph describes the tool. The function may be ``async``. What it
    returns is shown to the model: a text as it is, anything else as JSON.

    Args:
        name: What the model writes; by default the function's name.
        limits: As in `Tool`: timeout_s, max_concurrency, max_retries, retry_delay_s, max_result_chars, stateful.

    Raises:
        ToolDefinitionError: If the function cannot be called by what its hints say.
    """
    if function is None:
        return lambda function: _made(function, name, limits)
    return _made(function, name, limits)


def _made(function: Callable[..., Any], name: str | None, limits: Mapping[str, Any]) -> Tool:
    if not inspect.isroutine(function):
        raise ToolDefinitionError(f"@tool makes a tool of a function, got {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _wrong(function, "yields its results; return one instead")
    given = _given_by_engine(function, stateful=bool(limits.get("stateful")))
    hints = _hints(function, given)
    arguments = _Arguments(function, hints)
    try:
        return Tool(
            name=function.__name__ if name is None else name,
            description=first_paragraph(inspect.getdoc(function) or ""),
            parameters=arguments.schema(),
            function=_awaited(function, arguments) if inspect.iscoroutinefunction(function) else _called(function, arguments),
            **limits,
        )
    except (ValueError, TypeError) as error:
        raise _wrong(function, str(error)) from error


def _called(function: Callable[..., Any], arguments: "_Arguments") -> Callable[..., str]:
    return lambda **given: _written(function(**arguments.read(given)))


def _awaited(function: Callable[..., Any], arguments: "_Arguments") -> Callable[..., Any]:
    async def call(**given: Any) -> str:
        return _written(await function(**arguments.read(given)))

    return call


def _written(value: Any) -> str:
    return value if isinstance(value, str) else pydantic_core.to_json(value, inf_nan_mode="strings").decode()


def _given_by_engine(function: Callable[..., Any], *, stateful: bool) -> frozenset[str]:
    """Names of the parameters that no call gives."""
    if stateful and "state" not in inspect.signature(function).parameters:
        raise _wrong(function, "is stateful, but has no parameter 'state'; add one, a dictionary")
    return frozenset({"state"}) if stateful else frozenset()


def _hints(function: Callable[..., Any], given_by_engine: frozenset[str]) -> dict[str, tuple[inspect.Parameter, Any]]:
    """The parameters that a call gives, by name, each with its type."""
    try:
        types = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise _wrong(function, f"has a type hint that cannot be read: {error}") from error
    hints = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise _wrong(function, f"takes {str(parameter)!r}, which cannot be given by name; name each parameter")
        if parameter.name in given_by_engine:
            continue
        if parameter.name not in types:
            raise _wrong(function, f"has no type hint for {parameter.name!r}; write for example {parameter.name}: str")
        hints[parameter.name] = parameter, types[parameter.name]
    return hints


class _Arguments:
    """What a function takes: the JSON schema of it, and the way from JSON to values of the types that its hints name."""

    def __init__(self, function: Callable[..., Any], hints: Mapping[str, tuple[inspect.Parameter, Any]]):
        self._function, self._hints = function, hints
        # Names as aliases, for a field of a model may be called neither `_x` nor `copy`. The defaults stay with the function.
        self._fields = {f"argument_{number}": name for number, name in enumerate(hints)}
        fields: dict[str, Any] = {}
        for field, name in self._fields.items():
            parameter, hint = hints[name]
            required = parameter.default is parameter.empty
            fields[field] = (hint, pydantic.Field(alias=name) if required else pydantic.Field(alias=name, default=None))
        try:
            self._model = pydantic.create_model("Arguments", __config__=pydantic.ConfigDict(extra="forbid"), **fields)
        except (PydanticUserError, pydantic_core.SchemaError, TypeError, NameError) as error:
            raise _wrong(function, f"has a type hint that cannot be used: {_first_line(error)}") from error

    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        try:
            schema = _untitled(self._model.model_json_schema(by_alias=True))
        except PydanticUserError as error:
            raise _wrong(self._function, f"has a type hint that cannot be used: {_first_line(error)}") from error
        described = argument_descriptions(inspect.getdoc(self._function) or "")
        properties = schema.setdefault("properties", {})
        for name, (parameter, hint) in self._hints.items():
            said = _annotation(hint) or properties[name].get("description") or described.get(name)
            properties[name].pop("default", None)
            if said:
                properties[name]["description"] = said
            if parameter.default is not parameter.empty and _is_json(parameter.default):
                properties[name]["default"] = parameter.default
        return schema

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call, as values of the types of the hints.

        Raises:
            ToolError: If they are not such as the schema says.
        """
        passed_on = {name: given[name] for name in given if name == "state" and name not in self._hints}
        try:
            model = self._model.model_validate({name: value for name, value in given.items() if name not in passed_on})
        except pydantic.ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS_SHOWN]
            raise ToolError("; ".join(f"{_place(problem)}: {problem['msg']}" for problem in problems)) from None
        return {self._fields[field]: getattr(model, field) for field in model.model_fields_set} | passed_on


def _place(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _annotation(hint: Any) -> str | None:
    """The text in ``Annotated[int, "…"]``."""
    return next((said for said in getattr(hint, "__metadata__", ()) if isinstance(said, str)), None)


def _is_json(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles that pydantic makes up from names."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            plain[key] = {name: _untitled(each) for name, each in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            plain[key] = value
        elif key != "title":
            plain[key] = _untitled(value)
    return plain


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _wrong(function: Callable[..., Any], what: str) -> ToolDefinitionError:
    code = getattr(inspect.unwrap(function), "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    return ToolDefinitionError(f"{place}the function {getattr(function, '__name__', function)!s} {what}")
