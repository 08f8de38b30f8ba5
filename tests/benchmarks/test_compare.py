"""Two results of a benchmark say what changed, and which of it is more than chance."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import UnlikeDocuments, compare, direction_of, only_in, read_document, table


def document(*runs: dict[str, Any], benchmark: str = "step") -> dict[str, Any]:
    return {"schema": 1, "benchmark": benchmark, "machine": {"cpu": "one"}, "commit": "abc", "runs": list(runs)}


def step(step_s: float, **more: Any) -> dict[str, Any]:
    return {"model": "small", "phase": "decode", "batch": 8, "step_s": step_s} | more


def verdicts(before: dict[str, Any], after: dict[str, Any], noise: float = 0.1) -> dict[str, str]:
    return {change.name: change.verdict(noise) for change in compare(document(before), document(after))}


@pytest.mark.parametrize(("after_s", "verdict"), [(1.05, ""), (1.2, "worse"), (0.8, "better")])
def test_a_figure_without_a_range_is_marked_beyond_the_noise(after_s: float, verdict: str) -> None:
    assert verdicts(step(1.0), step(after_s)) == {"step_s": verdict}


def test_a_figure_is_marked_only_where_its_ranges_lie_apart() -> None:
    before = step(1.0, step_quartiles_s=[0.8, 1.3])
    assert verdicts(before, step(1.25, step_quartiles_s=[1.2, 1.4])) == {"step_s": ""}
    assert verdicts(before, step(1.5, step_quartiles_s=[1.4, 1.6])) == {"step_s": "worse"}
    speedups = [step(1.0, speedup={"median": m, "least": m - 0.1, "most": m + 0.1}) for m in (1.0, 1.3)]
    assert verdicts(*speedups)["speedup"] == "better"


def test_a_rate_is_better_when_it_grows_and_a_time_when_it_shrinks() -> None:
    assert [direction_of(name) for name in ("tokens_per_s", "step_s", "ttft_s p50", "forward_fit_error")] == [1, -1, -1, 0]


def test_runs_are_matched_by_what_they_measured() -> None:
    before, after = (
        document(step(1.0), step(2.0) | {"batch": 1}),
        document(step(2.2) | {"batch": 1}, step(1.1), step(1.0) | {"batch": 4}),
    )
    assert [round(change.ratio, 6) for change in compare(before, after)] == [1.1, 1.1]
    assert only_in(before, after) == [] and only_in(after, before) == ["small decode batch=4"]


def test_the_same_run_twice_is_compared_in_order() -> None:
    changes = compare(document(step(1.0), step(2.0)), document(step(1.0), step(4.0)))
    assert [change.ratio for change in changes] == [1.0, 2.0]


def test_the_table_shows_what_moved_unless_asked_for_all() -> None:
    changes = compare(document(step(1.0, wall_s=1.0)), document(step(2.0, wall_s=1.0)))
    assert "wall_s" not in table(changes, 0.1, everything=False) and "1 of 2 figures" in table(changes, 0.1, everything=False)
    assert "wall_s" in table(changes, 0.1, everything=True)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (document(step(1.0), benchmark="swap"), "the benchmark of the first is 'step', that of the second 'swap'"),
        (document(step(1.0)) | {"schema": 2}, "the schema of the first is 1, that of the second 2"),
        (document(step(1.0) | {"batch": 3}), "no run of the first was measured in the second"),
    ],
)
def test_unlike_documents_are_refused(after: dict[str, Any], message: str) -> None:
    with pytest.raises(UnlikeDocuments, match=message):
        compare(document(step(1.0)), after)


@pytest.mark.parametrize("text", ["", "[]", '{"runs": []}', '{"schema": 1}'])
def test_a_file_without_results_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UnlikeDocuments, match=r"results\.json holds no results"):
        read_document(path)


def test_the_command_tells_what_differs_and_fails_if_something_got_worse(tmp_path: Path) -> None:
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, step_s, cpu in zip(paths, (1.0, 3.0), ("one", "other"), strict=True):
        path.write_text(json.dumps(document(step(step_s)) | {"machine": {"cpu": cpu}}))
    done = subprocess.run([sys.executable, "-m", "benchmarks.compare", *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cpu: one before, other after" in done.stdout and "worse" in done.stdout


def test_the_command_refuses_unlike_files_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("{}")
    done = subprocess.run([sys.executable, "-m", "benchmarks.compare", path, path], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "holds no results" in done.stderr.splitlines()[-1]
