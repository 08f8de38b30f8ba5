"""Machines by name and by file."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sim.hardware import HARDWARE, Hardware, hardware_named

PROFILE: dict[str, Any] = {
    "model": "embedded",
    "cost_model": dict.fromkeys(CostModel.__dataclass_fields__, 0.001),
    "block_size": 16,
    "kv_tokens": 16384,
    "host_blocks": 100,
    "token_budget": 512,
    "max_num_seqs": 16,
    "max_model_len": 1024,
}


def test_the_published_constants_of_the_link_are_ten_gigabytes_a_second():
    """InferCept's swap limit for GPT-J-6B: 605.53 tokens in a step of 27.779 ms."""
    hardware = HARDWARE["a100-40gb-gptj-6b"]
    tokens_per_s = hardware.block_size / hardware.cost_model.swap_per_block_s
    assert tokens_per_s == pytest.approx(605.53 / 27.779e-3, rel=1e-4)


def test_the_published_step_of_a_full_budget_takes_as_long_as_the_script_says():
    assert HARDWARE["a100-40gb-gptj-6b-linear"].cost_model.forward_s(384, 50_000) == pytest.approx(32.6e-3, rel=1e-3)


def test_what_the_doctor_wrote_is_a_machine(tmp_path: Path):
    path = tmp_path / "laptop.json"
    path.write_text(json.dumps({"machine": {"cpu": "x"}, "profile": PROFILE}))
    hardware = hardware_named(path)
    assert (hardware.name, hardware.num_blocks, hardware.num_host_blocks) == ("laptop", 1025, 100)
    assert hardware.cost_model.forward_s(1, 1) == pytest.approx(0.003)
    assert hardware.scheduler_config("lamps").max_num_seqs == 16


def test_an_unknown_machine_is_refused_with_the_names_of_those_that_exist():
    with pytest.raises(ValueError, match=r"'abacus'; use one of a100-40gb-gptj-6b, .*doctor"):
        hardware_named("abacus")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"profile": null}', json.dumps({"machine": {}, "profile": PROFILE | {"kv_tokens": 5}})]
)
def test_a_file_that_describes_no_machine_is_refused_with_how_to_write_one(tmp_path: Path, text: str):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad.json holds no hardware profile .*lamps-jax doctor --json"):
        hardware_named(path)


def test_a_pool_smaller_than_one_request_is_refused():
    with pytest.raises(ValueError, match="room for 100 tokens, less than one request of 2048"):
        Hardware("h", "m", CostModel(1, 1, 1, 1, 1), 16, 100, 0)
