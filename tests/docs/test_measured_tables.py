"""Tables in the documents are those that the benchmarks have measured."""

import json
from pathlib import Path

from benchmarks import accelerator_tables, calibrate, fidelity, prediction, predictor, simulator
from benchmarks.aot.cases import MODELS
from benchmarks.aot.measure import broken_rules
from benchmarks.aot.table import tables
from benchmarks.parity import as_markdown
from benchmarks.reproduction import document
from benchmarks.reproduction.paper import WHOLE
from benchmarks.reproduction.pool import Committed
from tests.models.test_parity import CONFIGS, MAX_INT8_ERROR
from tests.models.torch_pair import MAX_ERROR

ROOT = Path(__file__).parents[2]


def test_the_table_of_parity_is_the_measured_one_and_holds_what_is_promised() -> None:
    runs = json.loads((ROOT / "benchmarks/results/parity.json").read_text())["runs"]
    assert as_markdown(runs) in (ROOT / "docs/models.md").read_text()
    assert [run["model"] for run in runs] == list(CONFIGS)
    for run in runs:
        assert max(run[f"{path}_max_error"] for path in ("whole", "decode", "prefill")) <= MAX_ERROR
        assert run["greedy_identical"]
        assert run["bfloat16_relative_error"] < 2e-2
        assert run["int8_relative_error"] < MAX_INT8_ERROR


def test_the_figures_of_loading_are_the_measured_ones() -> None:
    document = (ROOT / "docs/models.md").read_text()
    for run in json.loads((ROOT / "benchmarks/results/load.json").read_text())["runs"]:
        assert f"| {run['load_s']:.1f} s " in document


def test_the_tables_of_portability_are_what_was_compiled_and_hide_no_broken_rule() -> None:
    runs = json.loads((ROOT / "benchmarks/results/aot.json").read_text())["runs"]
    assert tables(runs) in (ROOT / "docs/portability.md").read_text()
    for run in runs:
        if "peak_bytes" in run:
            broken = broken_rules(run, num_layers=MODELS[run["model"]].config.num_layers)
            assert (run["status"], run.get("reason", "")) == ("breaks a rule" if broken else "ok", broken)
        else:
            assert run["status"] in ("refused", "unsupported", "too large", "does not compile") and run["reason"]


def test_the_figures_of_the_accelerator_are_the_measured_ones() -> None:
    runs, document = json.loads(accelerator_tables.RESULTS.read_text())["runs"], (ROOT / "docs/performance.md").read_text()
    for table in accelerator_tables.tables(runs).split("\n\n"):
        assert table in document
    assert not [run for run in runs if run["phase"] in ("failed", "skipped")]


def test_the_sensitivity_of_the_simulator_is_the_measured_one() -> None:
    table: dict[float, list[dict[str, object]]] = {}
    for run in json.loads((ROOT / "benchmarks/results/calibrate.json").read_text())["runs"]:
        table.setdefault(round(1e6 * run["per_context_token_s"], 6), []).append(run)
    assert calibrate.as_markdown(table) in (ROOT / "docs/simulator.md").read_text()


def test_the_speed_of_the_simulator_is_the_measured_one() -> None:
    runs = json.loads((ROOT / "benchmarks/results/simulator.json").read_text())["runs"]
    assert simulator.as_markdown(runs) in (ROOT / "docs/performance.md").read_text()


def test_the_reproduction_is_what_its_results_say() -> None:
    results = Committed(json.loads((ROOT / "benchmarks/results/reproduction.json").read_text()))
    assert document.text(WHOLE, results) == (ROOT / "docs/reproduction.md").read_text()


def test_the_fidelity_of_the_simulator_is_the_measured_one() -> None:
    runs = json.loads((ROOT / "benchmarks/results/fidelity.json").read_text())["runs"]
    document = (ROOT / "docs/benchmarking.md").read_text()
    assert all(table in document for table in fidelity.as_markdown(runs).split("\n\n"))
    assert all(run["same_plans"] == run["plans"] == run["simulated_plans"] for run in runs if run["compared"] == "plans")


def test_what_predictors_are_worth_is_what_was_measured() -> None:
    runs = json.loads((ROOT / "benchmarks/results/prediction.json").read_text())["runs"]
    document = (ROOT / "docs/predictor.md").read_text()
    for table in (prediction.accuracy_table(runs), prediction.real_table(runs), prediction.worth_table(runs)):
        assert table in document


def test_the_speed_of_predictors_is_what_was_measured() -> None:
    runs = json.loads((ROOT / "benchmarks/results/predictor.json").read_text())["runs"]
    assert predictor.as_markdown(runs) in (ROOT / "docs/predictor.md").read_text()
