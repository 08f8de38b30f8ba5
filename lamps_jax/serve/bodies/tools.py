"""The tools of a request: which there are, and which may or must be called."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError
from pydantic import Field

from lamps_jax.serve.bodies.patterns import check_patterns
from lamps_jax.serve.bodies.session import MAX_TOOLS
from lamps_jax.serve.protocol import Part, RequestError, at_most, refuse
from lamps_jax.tools.tool import Tool

MAX_SCHEMA_CHARS = 128 * 1024
"""Most characters of the JSON schema of a function."""

MAX_SCHEMAS_CHARS = 512 * 1024
"""Most characters of those of all functions of a request: to check so much takes seconds."""

MAX_CHECKED = 256
"""Schemas that are remembered to be good: an agent sends the same ones with every turn."""


class FunctionDefinition(Part):
    """A function that the client runs."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(Part):
    """A tool that the client runs."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(Part):
    """Names a function."""

    name: str


class NamedTool(Part):
    """Names a tool."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Part):
    """Which of the tools may be called, and whether one must be."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], at_most(MAX_TOOLS)]


class AllowedToolChoice(Part):
    """Lets the model choose among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | Annotated[NamedTool | AllowedToolChoice, Field(discriminator="type")]


def tools_by_name(definitions: Sequence[ToolDefinition]) -> dict[str, Tool]:
    """The tools that a client runs.

    Raises:
        RequestError: If a definition cannot be used, or two have the same name.
    """
    tools: dict[str, Tool] = {}
    if sum(len(json.dumps(definition.function.parameters)) for definition in definitions) > MAX_SCHEMAS_CHARS:
        refuse(f"the parameters of all tools together may have {MAX_SCHEMAS_CHARS} characters; shorten them", "tools")
    for definition in definitions:
        tool = _client_tool(definition.function)
        if tool.name in tools:
            refuse(f"tools has two functions called {tool.name!r}; rename one", "tools")
        tools[tool.name] = tool
    return tools


def forced_tools(choice: ToolChoice | None, own: Mapping[str, Tool], servers: Mapping[str, Tool]) -> list[Tool]:
    """The tools of which `choice` wants one called; empty if the model may do without.

    Args:
        own: The client's, which go before the server's of the same name, and which alone are meant where none is named.
        servers: The server's own.

    Raises:
        RequestError: If there is no such tool.
    """
    known = {**servers, **own}
    match choice:
        case "required":
            forced = list((own or servers).values())
        case NamedTool():
            forced = [known[name] for name in _known_names([choice], known)]
        case AllowedToolChoice():
            names = _known_names(choice.allowed_tools.tools, known)
            forced = [known[name] for name in names] if choice.allowed_tools.mode == "required" else []
        case _:
            return []
    if not forced and not (isinstance(choice, AllowedToolChoice) and choice.allowed_tools.mode == "auto"):
        refuse("tool_choice wants a tool to be called, and there is none; give tools", "tool_choice")
    return forced


def _known_names(named: Sequence[NamedTool], known: Mapping[str, Tool]) -> list[str]:
    names = list(dict.fromkeys(tool.function.name for tool in named))
    if unknown := [name for name in names if name not in known]:
        refuse(f"tool_choice names {unknown[0][:64]!r}, which is not among the tools", "tool_choice")
    return names


def _client_tool(function: FunctionDefinition) -> Tool:
    """A tool whose schema is safe to read arguments by."""
    schema = function.parameters or {}
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        refuse(f"parameters of function {function.name[:64]!r} may have {MAX_SCHEMA_CHARS} characters; shorten them", "tools")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping) or not all(isinstance(value, (Mapping, bool)) for value in properties.values()):
        refuse(f"parameters.properties of function {function.name!r} must map names to JSON schemas", "tools")
    if not isinstance(required, list):
        refuse(f"parameters.required of function {function.name!r} must be a list of names", "tools")
    typed = {name: value if isinstance(value, Mapping) else {} for name, value in properties.items()}
    parameters = {**schema, "type": "object", "properties": typed, "required": required}
    _check_schema(function.name, parameters)
    try:
        return Tool(function.name, function.description or "", parameters, _never_run_here)
    except ValueError as error:
        raise RequestError(str(error), param="tools") from error


def _check_schema(name: str, schema: Mapping[str, Any]) -> None:
    if problem := _problem_of(json.dumps(schema)):
        raise RequestError(f"parameters of function {name!r} {problem}", param="tools")


@lru_cache(MAX_CHECKED)
def _problem_of(text: str) -> str | None:
    """Why a JSON text is no schema to go by; None if it is one."""
    schema = json.loads(text)
    if foreign := next(_foreign_references(schema), None):
        return f"refer to {foreign[:64]!r}; put what they refer to into their $defs"
    draft = schema.get("$schema")
    known = {"$schema": draft} if isinstance(draft, str) else {}
    try:
        # Formats are not checked: "regex" would be Python's, and patterns are JavaScript's.
        kind: Any = validators.validator_for(known, default=Draft202012Validator)
        kind.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        place = ".".join(map(str, error.path))
        return f"are no JSON schema: {place + ': ' if place else ''}{error.message[:200]}"
    try:
        check_patterns(schema)
    except ValueError as error:
        return f"cannot be used: {error}"
    return None


def _foreign_references(value: Any) -> Iterator[str]:
    """References of a schema to what is not in it: nothing is fetched for a client."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str) and not item.startswith("#"):
                yield item
            yield from _foreign_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _foreign_references(item)


def _never_run_here(**arguments: Any) -> str:
    raise AssertionError("a client's tool was run on the server")
