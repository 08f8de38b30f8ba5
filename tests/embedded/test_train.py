import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPTJForCausalLM

TRAIN = """
import sys
from pathlib import Path
from rich.progress import Progress
from lamps_jax.embedded.train import Phase, TrainingConfig, train
config = TrainingConfig(
    vocab_size=300, tokenizer_questions=60, hidden_size=16, num_layers=1, num_heads=1, rotary_dim=8,
    rows=2, length=320, checkpoint_every=5,
    phases=(Phase(18, 3e-3, 2, 9, 20), Phase(12, 2e-3, 2, 6, 6, decision_weight=3.0)),
)
with Progress() as progress:
    train(config, Path(sys.argv[1]), progress=progress)
"""


def start_training(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TRAIN, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_training_run_that_is_killed_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start_training(undisturbed).wait(240) == 0
    process = start_training(killed)
    while not any(path.name.isdigit() for path in (killed / "checkpoints").glob("*")):
        assert process.poll() is None, "the run ended before its first checkpoint was seen"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    assert start_training(killed).wait(240) == 0
    assert (killed / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_the_last_phase_alone_starts_from_a_finished_model_and_keeps_its_tokenizer(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert start_training(first).wait(240) == 0
    finish = TRAIN.replace("progress=progress", "start_from=Path(sys.argv[2]), progress=progress")
    still = finish.replace("Phase(18, 3e-3, 2, 9, 20), Phase(12, 2e-3, 2, 6, 6, decision_weight=3.0)", "Phase(1, 0.0, 1, 1, 1),")
    command = [sys.executable, "-c", still, str(second), str(first)]
    assert subprocess.run(command, capture_output=True, timeout=240, check=False).returncode == 0
    for name in ("tokenizer.json", "model.safetensors"):  # at a learning rate of 0 the weights stay what they were
        assert (second / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.slow
def test_the_directory_that_training_writes_is_one_that_transformers_reads(tmp_path: Path) -> None:
    assert start_training(tmp_path).wait(240) == 0
    model, tokenizer = GPTJForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    token_ids = torch.tensor([tokenizer.encode("Q: What is 1+1?\nA:")])
    assert model(token_ids).logits.shape == (1, token_ids.shape[1], 300)
