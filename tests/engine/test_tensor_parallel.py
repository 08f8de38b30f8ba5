"""On any number of devices a model gives the same tokens, with the collectives it needs and no others.

A process of its own runs each case, on eight pretended devices: JAX has as many CPU devices as it is told to have at its start.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.tensor_parallel_program import BATCH, CASES, CHUNK, HIDDEN, SHAPE, VOCAB

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
XLA_FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",  # of LLVM; what XLA itself makes of a program stays
    "--xla_llvm_disable_expensive_passes=true",
)

ALL_REDUCES_PER_BLOCK = {"gptj": 1, "llama": 2, "opt": 2}
EMBEDDING_ALL_REDUCES = 1


def run_program(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.tensor_parallel_program", *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(XLA_FLAGS)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Seen:
    """What the program saw of each case, which runs when it is first asked for."""

    def __init__(self) -> None:
        self._cases: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self._cases:
            self._cases[name] = run_program(name)
        return self._cases[name]


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def seen_without_engine() -> dict[str, Any]:
    return run_program()


LONG = {"gptj", "opt", "gptj_with_sizes_that_do_not_divide"}
ALL = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in CASES]
COUNTED = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name, case in CASES.items() if case.counted]


@pytest.mark.parametrize("name", ALL)
def test_the_tokens_are_the_same_on_any_number_of_devices(name: str, seen: Seen) -> None:
    tokens = {size: seen[name][size]["tokens"] for size in seen[name]}
    assert all(generated == tokens["1"] for generated in tokens.values())
    assert len({token for generated in tokens["1"] for token in generated}) > 5  # not the same one again and again


@pytest.mark.parametrize("name", ALL)
def test_nothing_compiles_after_warm_up(name: str, seen: Seen) -> None:
    assert {size: there["compilations"] for size, there in seen[name].items()} == dict.fromkeys(seen[name], 0)


@pytest.mark.parametrize("name", ALL)
def test_the_pool_is_split_by_heads_and_stays_where_it_is(name: str, seen: Seen) -> None:
    kv_heads, one_device = CASES[name].config.num_kv_heads, seen[name]["1"]
    for size, there in seen[name].items():
        assert there["pool_stays"]
        assert there["pool_split"] == kv_heads // int(size)
        assert there["pool_bytes"] == one_device["pool_bytes"] // int(size)


@pytest.mark.long
def test_weights_are_split_but_for_norms_and_the_biases_of_sums(seen: Seen) -> None:
    one_device = seen["gptj"]["1"]["weight_bytes"]
    whole = 4 * HIDDEN * (SHAPE["num_layers"] * 3 + 2)
    for size, there in seen["gptj"].items():
        assert there["weight_bytes"] == (one_device - whole) // int(size) + whole


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("program", ["prefill", "decode"])
def test_a_program_has_one_all_reduce_a_sum_and_one_gathering_of_logits(name: str, program: str, seen: Seen) -> None:
    collectives = seen[name][str(CASES[name].counted)]["programs"][program]["collectives"]
    all_reduces = SHAPE["num_layers"] * ALL_REDUCES_PER_BLOCK[name] + EMBEDDING_ALL_REDUCES
    tokens, sampled = (CHUNK, 1) if program == "prefill" else (BATCH, BATCH)
    assert collectives == [["all-reduce", 4 * tokens * HIDDEN]] * all_reduces + [["all-gather", 4 * sampled * VOCAB]]


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("program", ["prefill", "decode"])
def test_the_pool_is_updated_in_place(name: str, program: str, seen: Seen) -> None:
    there = seen[name][str(CASES[name].counted)]
    last_tokens = 4 * (BATCH + 1)
    assert there["programs"][program]["aliased_bytes"] == there["pool_bytes"] + last_tokens


@pytest.mark.parametrize("name", COUNTED)
def test_each_device_swaps_its_own_heads_with_no_word_to_the_others(name: str, seen: Seen) -> None:
    size = CASES[name].counted
    assert size is not None
    assert seen[name][str(size)]["swap"] == {
        "bits_are_right": True,
        "pool_stays": True,
        "kept_in": "pinned_host",
        "kept_heads": CASES[name].config.num_kv_heads // size,
        "collectives": [],
    }


@pytest.mark.long
@pytest.mark.parametrize(("kind", "largest"), [("bfloat16", 0.02), ("int8", 1e-5)])
def test_rounded_weights_give_the_same_logits_on_four_devices(
    kind: str, largest: float, seen_without_engine: dict[str, Any]
) -> None:
    assert seen_without_engine["logits_errors"][kind] < largest


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_programs_for_other_devices_have_the_same_collectives(platform: str, seen_without_engine: dict[str, Any]) -> None:
    all_reduces = ALL_REDUCES_PER_BLOCK["gptj"] + EMBEDDING_ALL_REDUCES  # all blocks are calls of one function until compiled
    counts = [all_reduces, 1, SHAPE["num_layers"]]
    assert seen_without_engine["exported"][platform] == {"prefill": counts, "decode": counts}


def test_a_number_of_devices_that_cannot_be_is_refused_with_those_that_can(seen_without_engine: dict[str, Any]) -> None:
    assert seen_without_engine["refusals"] == [
        "tensor_parallel is 16, but there are only 8 cpu devices; lower it, or run on more",
        "tensor_parallel must divide the model's 8 heads, got 3; valid sizes for it are 1, 2, 4, 8",
        "tensor_parallel must divide the model's 8 key-value heads, got 5; valid sizes for it are 1, 2, 4, 8",
    ]
