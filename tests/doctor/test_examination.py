"""The command prints a line or one document, and its exit status says how it went."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from lamps_jax.cli import app, main
from lamps_jax.doctor import machine, rates
from lamps_jax.doctor.check import Check, Status, guarded
from lamps_jax.doctor.examination import show
from lamps_jax.doctor.served_model import is_poor
from lamps_jax.engine.measure import Fit, Point
from lamps_jax.models.weights import save_hf_directory
from lamps_jax.sched.cost_model import CostModel
from tests.docs.markdown import blocks
from tests.factories import gptj_config, lively_model

ROOT = Path(__file__).parents[2]
NAMES = [
    "versions", "devices", "memory kinds", "copy bandwidth", "host transfer", "matrix rate", "model", "programs", "compile cache",
    "attention", "cost model", "KV round trip",
]  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one narrow layer."""
    path, config = tmp_path_factory.mktemp("model"), gptj_config(num_layers=1)
    model = lively_model(config)
    save_hf_directory(path, config, dict(zip(model.parameter_names, model.weights, strict=True)), dtype="float32")
    return path


@pytest.fixture
def arguments(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command line that is quick to obey."""
    for name, value in (("SECONDS", 0.0), ("COPY_BYTES", {"cpu": 2**16}), ("MATRIX_SIZE", {"cpu": 64})):
        monkeypatch.setattr(rates, name, value)
    monkeypatch.setattr("lamps_jax.doctor.served_model.MEASURING_S", 0.3)
    small = ["--max-model-len", "32", "--max-num-seqs", "2", "--host-kv-bytes", "100000"]
    return ["doctor", "--model", str(directory), *small]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lamps-jax", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_document_has_every_check_and_the_profile_of_the_machine(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert {"machine", "versions", "profile", "checks"} <= document.keys()
    checks = {check["name"]: check for check in document["checks"]}
    assert list(checks) == NAMES
    assert all(check["status"] in ("pass", "warn") and check["detail"] for check in checks.values())
    for name in set(NAMES) - {"cost model"}:  # a fit may be poor on a busy machine
        assert checks[name]["status"] == "pass", checks[name]
    profile = document["profile"]
    CostModel(**profile["cost_model"])
    assert profile["kv_tokens"] == profile["kv_blocks"] * profile["block_size"] == 2 * 32
    assert profile["block_bytes"] == 2 * 16 * 32 * 4  # keys and values of 16 tokens, 32 numbers each
    assert profile["host_blocks"] == 100_000 // profile["block_bytes"]
    assert checks["programs"]["num_compiled"] >= len(checks["programs"]["programs"]) == 4
    assert [row["program"] for row in checks["programs"]["programs"]] == ["prefill 16", "prefill 32", "decode 1", "decode 2"]
    assert checks["attention"]["used"] == "llvm_cpu"
    assert checks["KV round trip"]["num_blocks"] == 2


def test_failing_check_is_a_line_and_exit_status_1_and_the_others_are_made_all_the_same(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Check:
        raise OSError("no such\nmemory")

    def unable(self: object) -> Check:
        raise MemoryError("too large")

    monkeypatch.setattr(machine, "check_memory_kinds", broken)
    monkeypatch.setattr("lamps_jax.doctor.served_model.ServedModel.check_model", unable)
    assert run(monkeypatch, *arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split("  ")[1] for line in lines] == NAMES
    assert lines[2] == "fail  memory kinds: OSError: no such memory"
    assert lines[0].startswith("pass  versions: lamps_jax")
    assert lines[7] == "fail  programs: RuntimeError: the model did not load"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "/no/such/model"), "/no/such/model does not exist"),
        (("--dtype", "int3"), "dtype must be float32, bfloat16 or float16, got 'int3'"),
        (("--host-kv-bytes", "lots"), "--host-kv-bytes must be bytes, or a number with K, M, G or T behind it, got 'lots'"),
        (("--max-model-len", "0"), "max_model_len must be positive, got 0"),
        (("--reference", str(ROOT / "README.md")), "README.md is not a reference"),
        (("--wings",), "--wings"),
    ],
)
def test_wrong_argument_gets_one_line_and_exit_status_2(
    options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "doctor", *options) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_line_is_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    check = Check("one", Status.WARN, "as [it] is")
    show(check)
    assert capsys.readouterr().out == "warn  one: as [it] is\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(check)
    assert "\x1b[33mwarn" in capsys.readouterr().out


def test_check_that_raises_has_failed() -> None:
    def examine() -> Check:
        raise ValueError("bad\n  luck")

    assert guarded("luck", examine) == Check("luck", Status.FAIL, "ValueError: bad luck")


@pytest.mark.parametrize(("fitted_s", "poor"), [((1.1, 2.0, 2.9), False), ((1.0, 1.2, 4.4), True), ((3.0, 2.0, 1.0), True)])
def test_fit_is_poor_where_errors_are_large_or_nothing_is_explained(fitted_s: tuple[float, ...], poor: bool) -> None:
    fit = Fit(tuple(Point("decode", 1, 1, 0, float(at + 1), fitted) for at, fitted in enumerate(fitted_s)))
    assert is_poor(fit) is poor


@pytest.mark.long
@pytest.mark.slow
def test_command_prints_one_document_and_progress_elsewhere(directory: Path) -> None:
    program = "from lamps_jax.cli import main; main()"
    options = ["--model", str(directory), "--json", "--max-model-len", "16", "--max-num-seqs", "1", "--host-kv-bytes", "0"]
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", *options], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["profile"]["cost_model"]["swap_base_s"] is None
    assert {check["name"]: check["status"] for check in document["checks"]}["KV round trip"] == "warn"


def test_document_about_the_doctor_has_every_line_and_only_commands_that_there_are() -> None:
    document = ROOT / "docs" / "doctor.md"
    rows = [
        line.split("|")[1].strip() for line in document.read_text().split("## Comparing")[0].splitlines() if line.startswith("|")
    ]
    assert rows[2:] == NAMES
    commands = [line.split(" > ")[0] for block in blocks(document, "bash") for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        program, name, *options = shlex.split(command)
        assert (program, name) == ("lamps-jax", "doctor")
        typer.main.get_command(app).commands["doctor"].make_context(name, options)  # raises what a wrong option raises
