"""Tools from a TOML file: its tables ``[[http]]`` and ``[[mcp]]``, with secrets from the environment put in."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from lamps_jax.tools.http_tools import HttpToolConfig
from lamps_jax.tools.mcp_config import McpServerConfig

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_WITH_VARIABLES = ("url", "headers", "command", "args", "env", "cwd")

Config = TypeVar("Config", HttpToolConfig, McpServerConfig)


@dataclass(frozen=True, slots=True)
class TomlFile:
    """What a file describes."""

    http: tuple[HttpToolConfig, ...] = ()
    mcp: tuple[McpServerConfig, ...] = ()


def read_toml_file(path: Path, environment: Mapping[str, str] = os.environ) -> TomlFile:
    """The tools that a TOML file describes; relative paths in it are relative to the file.

    Raises:
        ValueError: If it cannot be read, or a name or a value in it is wrong; the error says which.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot load tools from {path}: {error}") from error
    if unknown := sorted(set(content) - {"http", "mcp"}):
        raise ValueError(f"{path}: there is no {unknown[0]!r}; known are [[http]] and [[mcp]]")
    read = _Reader(path, environment)
    found = TomlFile(
        tuple(read.config(HttpToolConfig, "http", number, table) for number, table in read.tables("http", content)),
        tuple(read.config(McpServerConfig, "mcp", number, table) for number, table in read.tables("mcp", content)),
    )
    if not found.http and not found.mcp:
        raise ValueError(f"{path} has no tools; write them as tables [[http]] or [[mcp]]")
    return found


class _Reader:
    """Makes configurations of the tables of one file."""

    def __init__(self, path: Path, environment: Mapping[str, str]):
        self._path, self._environment = path, environment

    def tables(self, kind: str, content: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
        """The tables of a kind, numbered from 1."""
        tables = content.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ValueError(f"{self._path}: {kind} must be written as tables [[{kind}]], got {tables!r}")
        return list(enumerate(tables, start=1))

    def config(self, kind: type[Config], name: str, number: int, table: Mapping[str, Any]) -> Config:
        """What one table says."""
        where = f"{self._path}: [[{name}]] {table.get('name', f'number {number}')}"
        values = {key: self._substituted(where, key, value) if key in _WITH_VARIABLES else value for key, value in table.items()}
        if isinstance(parameters := values.get("parameters"), str):
            values["parameters"] = self._schema(where, parameters)
        if isinstance(cwd := values.get("cwd"), str):
            values["cwd"] = str((self._path.parent / cwd).resolve())
        try:
            return kind(**values)
        except pydantic.ValidationError as error:
            raise ValueError(f"{where}: {_problem(error)}") from None

    def _schema(self, where: str, file: str) -> Any:
        path = self._path.parent / file
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{where}: cannot read the parameters in {path}: {error}") from error

    def _substituted(self, where: str, key: str, value: Any) -> Any:
        """`value` with ``${NAME}`` replaced by what the environment has under that name."""
        if isinstance(value, dict):
            return {name: self._substituted(where, key, each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._substituted(where, key, each) for each in value]
        if not isinstance(value, str):
            return value

        def variable(match: re.Match[str]) -> str:
            if match[1] not in self._environment:
                raise ValueError(f"{where}: {key} needs the environment variable {match[1]}, which is not set")
            return self._environment[match[1]]

        return _VARIABLE.sub(variable, value)


def _problem(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong. What was given is not shown: it may be a secret."""
    problem = error.errors(include_url=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"there is no {place!r} here; look the names up in docs/tools.md"
    return f"{place}: {message}" if place else message
