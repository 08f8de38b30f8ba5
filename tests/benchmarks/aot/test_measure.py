from typing import Any

import pytest

from benchmarks.aot.cases import ARGUMENTS, MODELS, PROGRAMS
from benchmarks.aot.chips import CHIPS
from benchmarks.aot.measure import as_on, attentions, broken_rules, refusal
from lamps_jax.kv_cache.pool import storage_dtype

GOOD: dict[str, Any] = {
    "program": "decode",
    "attention": "pallas_gpu",
    "pool_bytes": 1000,
    "aliased_bytes": 1132,
    "temporary_bytes": 50,
    "pool_copies": 0,
    "kernel_calls": 28,
}


def test_a_program_in_order_breaks_no_rule() -> None:
    assert broken_rules(GOOD, num_layers=28) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aliased_bytes": 999}, "only 999 of the pool's 1000 bytes are updated in place"),
        ({"pool_copies": 3}, "an array of the pool is copied whole 3 times"),
        ({"temporary_bytes": 51}, "temporaries are 5.1% of the pool"),
        ({"kernel_calls": 27}, "pallas_gpu is called 27 times in 28 layers"),
    ],
)
def test_a_broken_rule_is_named_with_its_figure(change: dict[str, Any], said: str) -> None:
    assert broken_rules(GOOD | change, num_layers=28) == said


def test_rules_hold_for_the_programs_they_are_for() -> None:
    assert broken_rules(GOOD | {"program": "swap_out", "aliased_bytes": 0}, num_layers=28) == ""
    assert broken_rules(GOOD | {"program": "prefill", "temporary_bytes": 900}, num_layers=28) == ""
    assert broken_rules(GOOD | {"attention": "xla", "kernel_calls": 0}, num_layers=28) == ""


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required (30.53G) exceeds available HBM (15.75G).",
            "too large",
        ),
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error.\nRan out of memory in memory space hbm.", "too large"),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem.", "does not compile"),
        ("RESOURCE_EXHAUSTED: Shared memory size limit exceeded: requested 286720, available: 232448", "does not compile"),
        ("INTERNAL: Mosaic failed to compile TPU kernel", "does not compile"),
    ],
)
def test_a_model_too_large_for_a_chip_is_told_from_a_kernel_that_is_wrong(message: str, status: str) -> None:
    assert refusal(message) == status


def test_every_program_of_the_engine_is_compiled() -> None:
    assert set(ARGUMENTS) == set(PROGRAMS)


def test_models_have_every_head_size_and_targets_their_own_kernel() -> None:
    assert {model.config.head_dim for model in MODELS.values()} == {64, 128, 256}
    assert {target: attentions(chip)[0] for target, chip in CHIPS.items()} == {
        "v5e": "pallas_tpu",
        "v6e": "pallas_tpu",
        "a100": "pallas_gpu",
        "h200": "pallas_gpu",
    }


def test_programs_are_written_as_on_the_chip() -> None:
    here = storage_dtype("bfloat16")
    with as_on(CHIPS["h200"]):
        assert storage_dtype("bfloat16") == "bfloat16"
    assert storage_dtype("bfloat16") == here
