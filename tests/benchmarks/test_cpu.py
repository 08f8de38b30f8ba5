"""The document of a processor grows part by part, and says what is missing."""

import json
from pathlib import Path

import pytest

from benchmarks.cpu import PARTS, Part, measure, measure_all, runs_of, shares, table

DOCUMENT = {"schema": 1, "runs": [{"phase": "decode", "batch": 8, "context_tokens": 128, "share_of_limit": 0.5}]}
WRITES = f"import sys, pathlib; pathlib.Path(sys.argv[1]).write_text({json.dumps(DOCUMENT)!r})"
PRINTS = f"print({json.dumps(DOCUMENT)!r})"


def part(code: str, *arguments: str, limit_s: float = 60.0) -> Part:
    return Part("small", ("-c", code, *arguments), limit_s)


@pytest.mark.parametrize("what", [part(WRITES, "{out}"), part(PRINTS)])
def test_a_part_writes_or_prints_its_document(what: Part) -> None:
    assert measure(what) == DOCUMENT["runs"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (part("raise SystemExit('nothing works')"), r"no results \(exit status 1\): nothing works"),
        (part("import time; time.sleep(60)", limit_s=0.1), "took longer than 0 s"),
        (part("print('no JSON')"), "nothing was said"),
    ],
)
def test_a_part_that_fails_says_why(what: Part, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        measure(what)


def test_a_failure_stops_no_other_part_and_is_in_the_document(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    missing = Part("peers", ("-c", PRINTS), 60.0, python=tmp_path / "python")
    runs = measure_all([part("raise SystemExit('broken')"), missing, part(PRINTS)], out, 60.0)
    written = json.loads(out.read_text())
    assert written["benchmark"] == "cpu" and written["machine"]["cores"] and written["runs"] == runs
    assert [run["phase"] for run in runs] == ["failed", "skipped", "decode"]
    shown = table(runs)
    assert "broken" in shown and "`make peers` sets it up" in shown and "0.50  the bandwidth of a copy" in shown


def test_no_part_begins_when_the_time_is_over(tmp_path: Path) -> None:
    (run,) = measure_all([part(PRINTS)], tmp_path / "cpu.json", budget_s=-1.0)
    assert run == {"part": "small", "phase": "skipped", "reason": "no time was left"}


def test_every_check_of_the_doctor_is_a_run() -> None:
    runs = runs_of({"checks": [{"name": "devices", "status": "pass"}, {"name": "kernels", "status": "warn"}]})
    assert [run["phase"] for run in runs] == ["check", "check"]
    assert "doctor: kernels: warn" in table([{"part": "doctor"} | run for run in runs])


def test_a_ratio_to_a_peer_is_a_share_of_its_rate() -> None:
    speedup = {"median": 1.5, "least": 1.0, "most": 2.0}
    run = {"part": "peers", "model": "124m", "phase": "decode", "batch": 8, "context_tokens": 128, "peer": "llama.cpp"}
    assert shares([run | {"speedup": speedup}]) == [("124m decode of 8 at 128", 1.5, "the rate of llama.cpp")]


def test_the_slowdowns_of_requests_are_no_share_of_anything() -> None:
    served = {"part": "served", "slowdown": {"mean": 1.5, "p99": 3.0}, "rate_rps": 2.0}
    swap = {"part": "swap", "slowdown": 1.25, "blocks": 8}
    assert shares([served, swap]) == [("swap of 8 blocks beside decode", 0.8, "decode alone")]


def test_no_two_parts_have_the_same_name() -> None:
    assert len({each.name for each in PARTS}) == len(PARTS)
