"""A configuration that cannot work is refused when it is built, with the value that is wrong."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from lamps_jax.config import EngineConfig, SchedulerConfig


@pytest.mark.parametrize("name", ["token_budget", "max_chunk_tokens", "max_num_seqs", "max_model_len"])
@pytest.mark.parametrize("value", [0, -3])
def test_limit_of_the_scheduler_must_be_positive(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        SchedulerConfig(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eviction": "fifo"}, "eviction must be cost or lru, got 'fifo'"),
        ({"cache_decay_s": 0.0}, "cache_decay_s must be positive, got 0.0"),
        ({"preserve_limit_s": -1.0}, "preserve_limit_s must be 0 or more, or left out, got -1.0"),
        ({"max_calls": -1}, "max_calls must be 0 or more, got -1"),
        ({"token_budget": 7, "max_num_seqs": 8}, "got 7 for 8 requests; raise token_budget or lower max_num_seqs"),
    ],
)
def test_scheduler_config_names_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SchedulerConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": 0}, "block_size must be positive, got 0"),
        ({"dtype": "int8"}, "dtype must be float32, bfloat16 or float16, got 'int8'"),
        ({"kv_fraction": 0.0}, "kv_fraction must be above 0 and at most 1, got 0.0"),
        ({"kv_fraction": 1.5}, "kv_fraction must be above 0 and at most 1, got 1.5"),
        ({"kv_fraction": 0.5, "num_blocks": 100}, "num_blocks and kv_fraction both size the pool; give one of them"),
        ({"host_kv_bytes": -1}, r"host_kv_bytes must be 0 \(none\) or more, got -1"),
        ({"tensor_parallel": 0}, "tensor_parallel must be positive, got 0"),
        ({"quantize": "int4"}, "quantize must be int8 or left out, got 'int4'"),
        ({"load_format": "npz"}, "load_format must be auto or dummy, got 'npz'"),
        ({"num_blocks": 64}, r"64 KV blocks of 16 tokens .* max_model_len 1024; use at least 65 blocks or lower max_model_len"),
    ],
)
def test_engine_config_names_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig(**changes)


def test_smallest_pool_that_the_message_names_is_accepted() -> None:
    config = EngineConfig(SchedulerConfig(max_model_len=100), block_size=16)
    assert (config.max_blocks_per_request, config.min_num_blocks) == (7, 8)
    assert EngineConfig(config.scheduler, num_blocks=config.min_num_blocks).num_blocks == 8


def test_defaults_are_valid_and_no_calls_at_all_may_be_allowed() -> None:
    EngineConfig()
    SchedulerConfig(max_calls=0, max_num_seqs=1, token_budget=1, max_chunk_tokens=1, max_model_len=1)


def test_config_cannot_be_edited() -> None:
    with pytest.raises(FrozenInstanceError):
        EngineConfig().block_size = 32  # pyright: ignore[reportAttributeAccessIssue]
