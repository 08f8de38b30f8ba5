import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from lamps_jax.report.document import Document, parse
from lamps_jax.report.table import as_markdown, as_text
from lamps_jax.report.write import figures, write_report
from tests.report.synthetic import run_of


def document_of(*runs: dict[str, Any]) -> Document:
    return parse({"schema": 1, "kind": "simulate", "machine": {}, "commit": "0", "runs": list(runs)})


SMALL = [run_of(policy, 1.0, 0, window_s=30.0, details=True) for policy in ("toy-infercept", "toy-lamps")]


def test_a_report_holds_document_tables_and_figures(tmp_path: Path) -> None:
    document = document_of(*SMALL)
    paths = write_report(document, tmp_path / "out", ["png"])
    names = ["results.json", "table.txt", "table.md"]
    figures_of_one_rate = ["waste", "finished-by-type", "cdf", "occupancy", "running-mean", "timeline"]
    assert [path.name for path in paths] == [*names, *(f"{name}.png" for name in figures_of_one_rate)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    assert parse(paths[0].read_text()) == document
    assert (paths[1].read_text(), paths[2].read_text()) == (as_text(document), as_markdown(document))
    for path in paths[3:]:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_document_gives_the_same_bytes(tmp_path: Path) -> None:
    document = document_of(*(json.loads(json.dumps(run)) for run in SMALL))
    for name, draw in figures(document):
        if name in ("waste", "occupancy", "cdf"):
            from lamps_jax.report.figures.style import save_figure

            first, second = tmp_path / f"{name}-1.svg", tmp_path / f"{name}-2.svg"
            save_figure(draw(), first)
            save_figure(draw(), second)
            assert first.read_bytes() == second.read_bytes()
            assert b"<dc:date>" not in first.read_bytes()


def test_drawing_leaves_the_settings_of_the_process_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 33.0}):
        _, draw = next(iter(figures(document_of(*SMALL))))
        figure = draw()
        assert mpl.rcParams["font.size"] == 33.0
    assert figure.axes[0].get_xticklabels()[0].get_fontsize() < 12
    assert dict(mpl.rcParams) == before


def test_a_document_of_figures_alone_has_tables_and_no_figure(tmp_path: Path) -> None:
    bare = {name: SMALL[0][name] for name in "policy workload model hardware rate_rps seed arrived finished e2e_s ttft_s".split()}
    paths = write_report(document_of(bare), tmp_path)
    assert [path.name for path in paths] == ["results.json", "table.txt", "table.md"]


def test_figures_of_several_settings_are_named_by_what_differs() -> None:
    other = SMALL[0] | {"workload": "Multi API", "window_s": 60.0}
    names = [name for name, _ in figures(document_of(SMALL[0], other))]
    assert "waste-toy-workload-30s" in names and "timeline-multi-api-60s" in names
    clash = [name for name, _ in figures(document_of(SMALL[0] | {"model": "a b"}, SMALL[0] | {"model": "a/b"}))]
    assert "waste-a-b" in clash and "waste-a-b-2" in clash and len(set(clash)) == len(clash)


def test_no_runs_make_an_empty_report(tmp_path: Path) -> None:
    assert [path.name for path in write_report(document_of(), tmp_path)] == ["results.json", "table.txt", "table.md"]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown figure format 'gif'; known are png, svg, pdf"):
        write_report(document_of(*SMALL), tmp_path / "out", ["png", "gif"])
    assert not (tmp_path / "out").exists()
