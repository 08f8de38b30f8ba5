import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.report.document import merge_documents, new_document, parse, read_document, read_documents, write_document
from tests.report.synthetic import run_of


def document_of(*runs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"schema": 1, "kind": "simulate", "machine": {"cpu": "toy"}, "commit": "0000000", "runs": list(runs), **fields}


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    return run_of("toy-lamps", 1.0, 0, window_s=40.0, details=True)


def test_what_is_written_is_read_again_with_fields_that_nobody_here_knows(run: dict[str, Any], tmp_path: Path) -> None:
    given = document_of(run | {"invented": [1, 2]}, note="kept")
    write_document(tmp_path / "new" / "results.json", parse(given))
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == json.loads(json.dumps(given))
    assert read_document(tmp_path / "new" / "results.json") == parse(given)


def test_each_run_stands_on_a_line_of_its_own(run: dict[str, Any], tmp_path: Path) -> None:
    write_document(tmp_path / "results.json", parse(document_of(run, run | {"seed": 1})))
    lines = [line for line in (tmp_path / "results.json").read_text().splitlines() if '"policy"' in line]
    assert [json.loads(line.strip().rstrip(","))["seed"] for line in lines] == [0, 1]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"rate_rps": "3"}, "runs.0.rate_rps", "valid number, got '3'"),
        ({"e2e_s": {"mean": 1.0, "p99": "slow"}}, "runs.0.e2e_s.p99", "valid number, got 'slow'"),
        ({"finished": -1}, "runs.0.finished", "greater than or equal to 0, got -1"),
        ({"arrived": 1, "finished": 2}, "runs.0", "2 finished and 0 refused are more than the 1 that arrived"),
        ({"waste_token_s": {"preserved": 1.0, "recomputed": 0.0}}, "runs.0.waste_token_s.swapped", "Field required"),
        (
            {"timeline": [{"request": 0, "arrival_s": 0.0, "spans": [["sleeping", 0.0, 1.0]]}]},
            "runs.0.timeline.0.spans.0.0",
            "got 'sleeping'",
        ),
        (
            {
                "occupancy": {
                    name: [0.0] * (2 if name == "host" else 1)
                    for name in ("time_s", "computing", "preserved", "cached", "free", "host")
                }
            },
            "runs.0.occupancy",
            "one value per time",
        ),
    ],
)
def test_a_wrong_field_is_named_with_the_file(
    run: dict[str, Any], tmp_path: Path, change: dict[str, Any], field: str, reason: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document_of(run | change)))
    with pytest.raises(ValueError, match="schema 1") as caught:
        read_document(path)
    assert str(caught.value).startswith(f"{path}: {field}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_field_a_wrong_schema_and_broken_json_are_named(run: dict[str, Any], tmp_path: Path) -> None:
    without_policy = {name: value for name, value in run.items() if name != "policy"}
    with pytest.raises(ValueError, match=r"runs\.0\.policy: Field required"):
        parse(document_of(without_policy))
    with pytest.raises(ValueError, match=r"schema: Input should be 1, got 2"):
        parse(document_of(schema=2))
    (tmp_path / "broken.json").write_text('{"schema": 1,')
    with pytest.raises(ValueError, match=r"broken\.json: the whole: Invalid JSON"):
        read_document(tmp_path / "broken.json")
    with pytest.raises(ValueError, match=r"missing\.json cannot be read: No such file"):
        read_document(tmp_path / "missing.json")


def test_a_number_that_json_does_not_have_is_refused(run: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        parse(document_of(run | {"throughput_rps": float("nan")}))
    with pytest.raises(ValueError, match=r"runs\.0\.throughput_rps: Input should be a finite number"):
        parse(json.dumps(document_of(run | {"throughput_rps": float("inf")})))


def test_a_new_document_knows_its_machine(run: dict[str, Any]) -> None:
    document = new_document("bench", [run], {"device": "toy accelerator"})
    assert document.kind == "bench" and document.commit
    assert document.machine is not None
    assert document.machine["device"] == "toy accelerator" and document.machine["cores"] >= 1


def test_merged_files_hold_all_runs_and_those_of_other_commits_say_so(run: dict[str, Any], tmp_path: Path) -> None:
    given = [
        document_of(run),
        document_of(run | {"seed": 1}, commit="1111111"),
        document_of(run | {"seed": 2}, commit="1111111", kind="bench"),
    ]
    paths = [tmp_path / f"{place}.json" for place in range(3)]
    for path, document in zip(paths, given, strict=True):
        path.write_text(json.dumps(document))
    merged = read_documents(paths)
    assert merged.machine == {"cpu": "toy"} and merged.commit is None
    assert [(each.seed, each.kind, (each.model_extra or {})["commit"]) for each in merged.runs] == [
        (0, "simulate", "0000000"),
        (1, "simulate", "1111111"),
        (2, "bench", "1111111"),
    ]
    assert merge_documents([merged]) == merged
    again = merge_documents([merged, parse(given[0] | {"runs": [run | {"seed": 3}]})])
    assert [(each.model_extra or {})["commit"] for each in again.runs] == ["0000000", "1111111", "1111111", "0000000"]


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(ValueError, match="name at least one"):
        merge_documents([])
