"""A workload is found by its name or in its file."""

from pathlib import Path

import pytest

from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.traces.record import TraceError
from lamps_jax.sim.workloads import WORKLOADS, load_workload


def test_the_names_are_those_of_the_documentation() -> None:
    document = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
    assert [name for name in WORKLOADS if f"| `{name}` |" not in document] == []


def test_a_path_is_read_as_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,5,7\n")
    workload = load_workload(path)
    assert workload.name == "mine" and workload.scripts[0].num_prompt_tokens == 5
    assert load_workload(str(path)) == workload


def test_a_shape_is_given_to_generated_and_to_read_workloads(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00,500,70\n")
    shape = Shape(max_context_tokens=300)
    for workload in (load_workload(path, shape=shape), load_workload("multi-api", num_scripts=50, shape=shape)):
        assert max(made.max_context_tokens for made in workload.scripts) == 300


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="no workload and no file is called 'multiapi'; use one of single-api, multi-api"
    ) as error:
        load_workload("multiapi")
    assert all(name in str(error.value) for name in WORKLOADS)


def test_a_file_that_is_no_trace_is_an_error_of_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TraceError, match="none of the known formats"):
        load_workload(path)
