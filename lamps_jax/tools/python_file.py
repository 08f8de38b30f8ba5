"""Tools from a file of Python: every tool that is bound to a public name in it."""

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from lamps_jax.tools.define import ToolDefinitionError
from lamps_jax.tools.tool import Tool


def tools_of_python_file(path: Path) -> tuple[Tool, ...]:
    """The tools in a file: functions under ``@tool``, and other `Tool` objects, under names that begin with no underscore.

    Raises:
        ValueError: If the file cannot be read or run, or has no tools.
    """
    module = _imported(path)
    found = {id(value): value for name, value in vars(module).items() if isinstance(value, Tool) and not name.startswith("_")}
    if not found:
        raise ValueError(f"{path} has no tools; decorate a function with @tool of lamps_jax.tools.define")
    return tuple(found.values())


def _imported(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"cannot load tools from {path}: there is no such file")
    name = "tools_of_" + re.sub(r"\W", "_", str(path.resolve()))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a file named .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where hints that are texts, dataclasses and the like look for their module
    try:
        spec.loader.exec_module(module)
    except ToolDefinitionError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(f"cannot load tools from {path}: {_line(path, error)}{type(error).__name__}: {error}") from error
    return module


def _line(path: Path, error: BaseException) -> str:
    """The last line of the file itself that led to the error."""
    if isinstance(error, SyntaxError):
        return ""  # its text says the line
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""
