"""The page: prose from a template, and every table and figure of a benchmark from its results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from benchmarks import accelerator_tables, simulator
from benchmarks.performance import tables

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
TEMPLATE = Path(__file__).parent / "page.md.jinja"

Documents = Mapping[str, Mapping[str, Any]]


def committed(directory: Path = RESULTS) -> Documents:
    """Every benchmark's document by the name of its file, with underscores for hyphens."""
    return {path.stem.replace("-", "_"): json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}


def text(documents: Documents, template: str | None = None) -> str:
    """The page, as `template` has it, or the one beside this module.

    Raises:
        jinja2.UndefinedError: If the template names results, or a part of them, that are not there.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    environment.globals |= {
        "tables": tables, "accelerator_tables": accelerator_tables, "simulator": simulator, "results": documents,
        "run_of": tables.run_of,
    }  # fmt: skip
    environment.filters["giga"] = _giga
    return environment.from_string(template if template is not None else TEMPLATE.read_text()).render()


def _giga(value: float, digits: int = 0) -> str:
    return f"{value / 1e9:,.{digits}f}"
