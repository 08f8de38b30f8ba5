"""docs/performance.md is what its generator makes of the committed results."""

import json
from typing import Any

import jinja2
import pytest

from benchmarks.performance import tables
from benchmarks.performance.page import PAGE, committed, text

PEER = {
    "model": "124m", "dtype": "float32", "peer": "llama.cpp", "phase": "decode", "batch": 8, "context_tokens": 128,
    "tokens_per_s": 30.04, "peer_tokens_per_s": 20.0, "speedup": {"median": 1.502, "least": 1.4, "most": 1.6},
    "peak_bytes": 2_000_000_000, "peer_peak_bytes": 1_000_000_000,
}  # fmt: skip
MISSING = {"model": "1.1b", "dtype": "float32", "peer": "ctranslate2", "reason": "ctranslate2 is not installed here"}
MACHINE = {"platform": "cpu", "device": "cpu", "cores": 2, "cpu": "AMD EPYC", "memory_gib": 23.5, "jax": "1", "python": "3"}


def test_the_page_is_what_its_generator_writes() -> None:
    assert text(committed()) == PAGE.read_text(), "run python -m benchmarks.performance"


def test_a_new_result_changes_the_page() -> None:
    documents = json.loads(json.dumps(committed()))
    documents["serving"]["runs"][0]["ready_s"] = 1234.5
    assert "1234.5 s from start to ready" in text(documents)


def test_peers_stand_on_the_page_once_they_were_measured() -> None:
    documents = {name: document for name, document in committed().items() if name != "peers"}
    assert "## Beside other engines on a CPU" not in text(documents)
    page = text(documents | {"peers": document(PEER, MISSING)})
    assert "| 124m | float32 | llama.cpp | decode | 8 | 128 | 30.0 | 20.0 | 1.50 | 1.40–1.60 | 2000 / 1000 |" in page
    assert "- 1.1b float32, ctranslate2: ctranslate2 is not installed here" in page
    assert "Not measured" not in text(documents | {"peers": document(PEER)})


def test_shares_of_a_processor_stand_on_the_page_once_they_were_measured() -> None:
    run = {"part": "gpt-j-124m decode", "phase": "decode", "batch": 8, "context_tokens": 128, "share_of_limit": 0.5}
    assert "| gpt-j-124m decode of 8 at 128 | 0.50 | the bandwidth of a copy |" in text({**committed(), "cpu": document(run)})


@pytest.mark.parametrize("template", ["{{ results.nothing.runs }}", "{{ results.step.nothing }}"])
def test_a_template_that_names_what_is_not_there_is_refused(template: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match="nothing"):
        text(committed(), template)


def test_a_run_that_is_not_there_is_not_made_up() -> None:
    with pytest.raises(LookupError, match="no run has"):
        tables.run_of([PEER], peer="vllm")


def document(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1, "machine": MACHINE, "commit": "abc+", "runs": list(runs)}


def test_every_table_has_as_many_cells_as_columns() -> None:
    for block in text(committed()).split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1, block
