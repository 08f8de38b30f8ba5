from pathlib import Path
from typing import Any

import pytest

from benchmarks.aot.cases import PROGRAMS
from benchmarks.aot.table import BEGIN, END, fit_table, summary_line, tables, write_tables

GB = 10**9


def run(**changes: Any) -> dict[str, Any]:
    figures = {"argument_bytes": 30 * GB, "temporary_bytes": 10**6, "peak_bytes": 30 * GB, "compile_cpu_s": 2.0}
    figures |= {"collectives": {"all-reduce": 29, "all-gather": 1}, "kernel_calls": 28, "status": "ok"}
    case = {"target": "a100", "model": "m", "tensor_parallel": 1, "program": "decode", "attention": "pallas_gpu"}
    return figures | case | changes


def cells(runs: list[dict[str, Any]]) -> list[str]:
    """Of the table of what fits the cells of v5e, v6e, A100 with 40 and with 80 GB, H200."""
    return [cell.strip() for cell in fit_table(runs).splitlines()[2].strip("| ").split("|")[1:]]


def of_all_programs(**changes: Any) -> list[dict[str, Any]]:
    return [run(program=program, **changes) for program in PROGRAMS]


def test_a_model_fits_where_every_program_is_in_order_and_within_memory() -> None:
    assert cells(of_all_programs()) == ["not compiled", "not compiled", "1", "1", "not compiled"]
    assert cells(of_all_programs(peak_bytes=50 * GB))[2:4] == ["none", "1"]
    assert cells([*of_all_programs()[1:], run(program=PROGRAMS[0], peak_bytes=50 * GB)])[2:4] == ["none", "1"]
    assert cells([*of_all_programs(), *of_all_programs(tensor_parallel=2)])[2] == "1, 2"


def test_a_number_of_devices_with_programs_missing_has_a_question_mark() -> None:
    assert cells(of_all_programs()[1:])[2] == "1?"


@pytest.mark.parametrize("status", ["too large", "refused", "does not compile"])
def test_what_did_not_compile_does_not_fit_and_says_why(status: str) -> None:
    bad = {key: run()[key] for key in ("target", "model", "tensor_parallel", "program", "attention")}
    bad |= {"status": status, "reason": "for a reason"}
    assert cells([*of_all_programs()[:1], bad])[2] == "none"
    assert f"{status}: for a reason" in tables([bad])
    assert f"{status}: for a reason" in summary_line(bad)


def test_a_broken_rule_is_shown_beside_the_figures() -> None:
    bad = run(status="breaks a rule", reason="copied")
    assert "NO: copied" in tables([bad])
    assert cells([bad])[2] == "none"


def test_a_kernel_that_does_not_serve_leaves_the_verdict_to_the_fall_back() -> None:
    unsupported = run(status="unsupported", reason="head size")
    del unsupported["peak_bytes"]
    assert cells([unsupported, *of_all_programs(attention="xla")])[2] == "1"


def test_tables_are_put_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_tables(document, [run()])
    assert document.read_text() == f"before\n{BEGIN}\n\n{tables([run()])}\n\n{END}\nafter\n"


@pytest.mark.parametrize(("text", "missing"), [("nothing", BEGIN), (f"{BEGIN}\n", END)])
def test_a_document_without_marks_is_refused(tmp_path: Path, text: str, missing: str) -> None:
    document = tmp_path / "document.md"
    document.write_text(text)
    with pytest.raises(ValueError, match=missing):
        write_tables(document, [run()])
    assert document.read_text() == text
