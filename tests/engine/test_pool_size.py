"""The pool takes what was asked for or what fits, and what does not fit is said in bytes."""

from pathlib import Path
from typing import Any

import pytest

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL, build_engine
from lamps_jax.engine.pool_size import (
    DoesNotFit,
    block_bytes_per_device,
    check_host_pool_fits,
    check_weights_fit,
    free_bytes,
    num_blocks,
)
from lamps_jax.models.gptj import GPTJConfig

GPTJ_6B = GPTJConfig(
    vocab_size=50400, hidden_size=4096, num_layers=28, num_heads=16, rotary_dim=64, intermediate_size=16384, max_position=2048
)
BLOCK = 16 * 458_752  # 448 KiB a token, as every description of GPT-J has it


def config(**changes: Any) -> EngineConfig:
    return EngineConfig(SchedulerConfig(max_num_seqs=8, max_model_len=2048, token_budget=512), dtype="bfloat16", **changes)


def test_a_block_of_gpt_j_has_its_known_size_and_is_divided_over_devices():
    assert block_bytes_per_device(GPTJ_6B, config()) == BLOCK
    assert block_bytes_per_device(GPTJ_6B, config(tensor_parallel=4)) == BLOCK // 4


def test_without_options_every_running_request_may_be_full_if_that_fits():
    assert num_blocks(GPTJ_6B, config(), None) == 8 * 128 + 1
    assert num_blocks(GPTJ_6B, config(), 10**12) == 8 * 128 + 1
    assert num_blocks(GPTJ_6B, config(), 500 * BLOCK) == 450


def test_a_fraction_of_the_memory_is_used_whole():
    assert num_blocks(GPTJ_6B, config(kv_fraction=0.5), 10_000 * BLOCK) == 5000


def test_blocks_that_were_asked_for_are_taken_as_they_are():
    assert num_blocks(GPTJ_6B, config(num_blocks=300), 300 * BLOCK) == 300
    assert num_blocks(GPTJ_6B, config(num_blocks=300), None) == 300


@pytest.mark.parametrize(
    ("changes", "free", "message"),
    [
        (
            {"num_blocks": 300},
            200 * BLOCK,
            r"300 KV blocks take 2.20 GB .* 1.47 GB are free: 734.0 MB too many; 200 blocks would fit",
        ),
        ({}, 100 * BLOCK, r"2048 tokens \(max_model_len\) takes 946.9 MB .* 286.3 MB more .*; lower --max-model-len"),
        ({"kv_fraction": 0.1}, 200 * BLOCK, r"800.1 MB more than there is room for"),
    ],
)
def test_what_does_not_fit_says_by_how_much_and_what_to_change(changes: dict[str, Any], free: int, message: str):
    with pytest.raises(DoesNotFit, match=message):
        num_blocks(GPTJ_6B, config(**changes), free)


def test_weights_that_do_not_fit_say_by_how_much():
    check_weights_fit(5, 5)
    check_weights_fit(5, None)
    with pytest.raises(DoesNotFit, match=r"12.10 GB on each device and 8.00 GB are free: 4.10 GB too many; use --dtype bfloat16"):
        check_weights_fit(12_100_000_000, 8_000_000_000)


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config.json").write_text((EMBEDDED_MODEL / "config.json").read_text())  # and no weights
    monkeypatch.setattr("lamps_jax.engine.build.free_bytes", lambda: 1_000_000)
    with pytest.raises(DoesNotFit, match=r"the weights take 9.7 MB on each device and 1.0 MB are free: 8.7 MB too many"):
        build_engine(tmp_path, EngineConfig(), ())


def test_a_host_pool_larger_than_the_memory_is_refused():
    check_host_pool_fits(0, 0)
    check_host_pool_fits(2**40, None)
    with pytest.raises(DoesNotFit, match=r"takes 8.00 GB and 5.00 GB of this machine's memory are free: 3.00 GB too many"):
        check_host_pool_fits(8_000_000_000, 5_000_000_000)


def test_a_share_of_an_unknown_memory_is_refused():
    with pytest.raises(ValueError, match="give --kv-blocks instead of --kv-fraction"):
        num_blocks(GPTJ_6B, config(kv_fraction=0.5), None)


def test_this_machine_says_what_is_free():
    free = free_bytes()
    assert free is not None
    assert 2**20 < free < 2**50
