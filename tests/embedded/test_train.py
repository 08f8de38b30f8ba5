import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPTJForCausalLM

from lamps_jax.options import default_compile_cache

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

ENVIRONMENT = os.environ | {"JAX_COMPILATION_CACHE_DIR": default_compile_cache()}
"""Every run compiles the same programs."""


def start_training(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", TRAIN, str(out)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run writes that nothing disturbs."""
    out = tmp_path_factory.mktemp("trained")
    assert start_training(out).wait(240) == 0
    return out


@pytest.mark.long
def test_a_training_run_that_is_killed_goes_on_and_ends_with_the_same_weights(trained: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    process = start_training(killed)
    while not any(path.name.isdigit() for path in (killed / "checkpoints").glob("*")):
        assert process.poll() is None, "the run ended before its first checkpoint was seen"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()
    assert start_training(killed).wait(240) == 0
    assert (killed / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


@pytest.mark.long
def test_the_last_phase_alone_starts_from_a_finished_model_and_keeps_its_tokenizer(trained: Path, tmp_path: Path) -> None:
    finish = TRAIN.replace("progress=progress", "start_from=Path(sys.argv[2]), progress=progress")
    still = finish.replace("Phase(18, 3e-3, 2, 9, 20), Phase(12, 2e-3, 2, 6, 6, decision_weight=3.0)", "Phase(1, 0.0, 1, 1, 1),")
    command = [sys.executable, "-c", still, str(tmp_path / "second"), str(trained)]
    assert subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=240, check=False).returncode == 0
    for name in ("tokenizer.json", "model.safetensors"):  # at a learning rate of 0 the weights stay what they were
        assert (tmp_path / "second" / name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.slow
def test_the_directory_that_training_writes_is_one_that_transformers_reads(trained: Path) -> None:
    model, tokenizer = GPTJForCausalLM.from_pretrained(trained), AutoTokenizer.from_pretrained(trained)
    token_ids = torch.tensor([tokenizer.encode("Q: What is 1+1?\nA:")])
    assert model(token_ids).logits.shape == (1, token_ids.shape[1], 300)
