"""Imports point one way, those inside functions and under TYPE_CHECKING too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lamps_jax

ROOT = Path(lamps_jax.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "lamps_jax": set(),
    "config": set(),
    "sched": {"config"},
    "metrics": {"sched"},
    "tools": set(),
    "kv_cache": {"config"},
    "models": {"kv_cache", "config"},
    "engine": {"config", "sched", "metrics", "tools", "kv_cache", "models"},
    "llm": {"config", "sched", "metrics", "tools", "models", "engine"},
    "embedded": {"models", "tools"},
    "embedded.evaluate": {"embedded", "llm", "config", "sched", "tools"},
    "sim": {"config", "sched", "metrics", "tools", "engine"},
    "report": set(),
    "train_predictor": {"models", "sched", "report"},
    "doctor": {"config", "report", "sched", "kv_cache", "models", "engine"},
    "terminal": {"sched", "metrics", "tools", "engine", "llm", "train_predictor"},
    "serve": {"config", "sched", "metrics", "tools", "models", "engine", "train_predictor"},
    "serve.ray_app": {"config", "sched", "serve", "options"},
    "options": {"sched"},
    "server_options": set(),
    "bench": {"config", "metrics", "sched", "engine", "sim"},
    "study": {"config", "metrics", "sched", "sim", "engine", "bench", "report", "terminal", "options"},
    "cli": {
        *("config", "sched", "metrics", "tools", "models", "engine", "llm"),
        *("doctor", "terminal", "serve", "study", "options", "server_options", "train_predictor"),
    },
}
"""What each package or module of `lamps_jax` may import of the others; all may read the version in ``lamps_jax`` itself."""

STANDARD_LIBRARY_ONLY = {"lamps_jax", "config", "sched", "metrics", "sim"}

COMPUTING = {"jax", "jaxlib", "flax", "numpy", "scipy", "transformers", "tokenizers", "optax", "orbax"}
"""Libraries that take seconds to import, or a device."""

FILES = sorted(ROOT.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file) for file in FILES}


def unit(module: str) -> str:
    """The row of `ALLOWED` that a module belongs to."""
    inside = module.removeprefix("lamps_jax").removeprefix(".")
    return inside if inside in ALLOWED else inside.split(".")[0] or "lamps_jax"


def imported_modules(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else str(node.module)


def is_ours(module: str) -> bool:
    return module.split(".")[0] == "lamps_jax"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_module_imports_only_what_its_package_may(file: Path) -> None:
    here = unit(module_name(file))
    assert here in ALLOWED, f"say in ALLOWED what {here} may import"
    others = {unit(module) for module in imported_modules(file) if is_ours(module)} - {here, "lamps_jax"}
    assert others <= ALLOWED[here]


@pytest.mark.parametrize("file", [file for file in FILES if unit(module_name(file)) in STANDARD_LIBRARY_ONLY], ids=module_name)
def test_module_needs_nothing_but_the_standard_library(file: Path) -> None:
    foreign = {module.split(".")[0] for module in imported_modules(file) if not is_ours(module)}
    assert foreign <= sys.stdlib_module_names


@pytest.mark.parametrize("file", [file for file in FILES if unit(module_name(file)) == "tools"], ids=module_name)
def test_tools_are_written_and_run_without_what_models_need(file: Path) -> None:
    assert COMPUTING.isdisjoint(module.split(".")[0] for module in imported_modules(file))


def test_package_itself_imports_nothing() -> None:
    assert list(imported_modules(ROOT / "__init__.py")) == []


def test_only_the_command_line_imports_the_server() -> None:
    importers = {
        unit(module_name(file)) for file in FILES for module in imported_modules(file) if module.startswith("lamps_jax.serve")
    }
    assert importers <= {"serve", "serve.ray_app", "cli"}


def test_simulator_takes_nothing_of_the_engine_but_the_loop_and_its_protocols() -> None:
    taken = {module for file in FILES for module in imported_modules(file) if unit(module_name(file)) == "sim"}
    names = ("engine", "api_runner", "control", "events", "options", "protocols", "text_stream")
    loop = {f"lamps_jax.engine.{name}" for name in names}
    assert {module for module in taken if module.startswith("lamps_jax.engine")} <= loop


def sort(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' → '.join(error.args[1])}")


def test_no_two_packages_import_each_other_even_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        here = unit(module_name(file))
        graph.setdefault(here, set()).update({unit(m) for m in imported_modules(file) if is_ours(m)} - {here, "lamps_jax"})
    sort(graph)


def test_no_two_modules_import_each_other_even_in_a_circle() -> None:
    sort({module_name(file): {m for m in imported_modules(file) if m in MODULES and m != "lamps_jax"} for file in FILES})


@pytest.mark.parametrize(
    "module",
    [
        "lamps_jax",
        "lamps_jax.sched.scheduler",
        "lamps_jax.metrics",
        "lamps_jax.tools.builtin",
        "lamps_jax.sim.workloads",
        "lamps_jax.sim.sweep",
        "lamps_jax.study",
        "lamps_jax.terminal",
        "lamps_jax.cli",
        "lamps_jax.report.write",
    ],
)
def test_deciding_tools_workloads_and_reports_load_neither_jax_nor_numpy(module: str) -> None:
    program = f"import sys, {module}; print([name for name in ('jax', 'numpy', 'flax') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
