"""What measures an accelerator runs to its end, on a model so small that a processor will do."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import accelerator
from lamps_jax.models.gptj import GPTJConfig

TINY = GPTJConfig(
    vocab_size=512, hidden_size=64, num_layers=1, num_heads=1, rotary_dim=16, intermediate_size=128, max_position=1024
)  # fmt: skip


@pytest.mark.long
@pytest.mark.slow
def test_every_part_measures_something_and_none_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "accelerator.json"
    monkeypatch.setitem(accelerator.SHAPES, "tiny", TINY)
    monkeypatch.setattr(accelerator, "NUM_SERVED", 6)
    sizes = "--batches 1,4 --chunks 512 --context 800 --steps 3 --matmul-size 64 --dtype float32".split()
    monkeypatch.setattr(sys, "argv", ["accelerator", "--out", str(out), "--models", "tiny", *sizes])
    accelerator.main()
    runs = json.loads(out.read_text())["runs"]
    assert [run for run in runs if run["phase"] in ("failed", "skipped")] == []
    parts = {run["part"].removeprefix("tiny ") for run in runs}
    assert parts >= {"decode", "prefill", "swap", "costs", "sampling", "host", "serving", "kernels"}
    assert [run["batch"] for run in runs if run["part"] == "tiny decode"] == [1, 4]


def test_a_run_is_described_on_a_line_by_its_numbers() -> None:
    run = {"part": "decode", "phase": "decode", "step_s": 0.0125, "step_quartiles_s": (0.01, 0.02), "bytes_per_s": 2.5e9}
    assert accelerator.described(run).split() == ["decode", "decode", "step=12.500ms", "bytes_per_s=2.5G"]
