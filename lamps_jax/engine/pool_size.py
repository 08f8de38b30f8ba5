"""How many KV blocks the pool has: what was asked for, or what the memory of the devices allows."""

from pathlib import Path

import jax
import jax.numpy as jnp

from lamps_jax.config import EngineConfig
from lamps_jax.kv_cache.pool import storage_dim
from lamps_jax.models.architecture import ModelConfig

USABLE_SHARE = 0.9
"""Of the memory that is free once the weights are there; the rest is for what programs need beside the pool."""


class DoesNotFit(ValueError):
    """Raised where weights or the smallest pool exceed the memory; the message says by how much, and what to change."""


def free_bytes() -> int | None:
    """Bytes that an array could still take on the first device of this process; None if the platform does not say."""
    if jax.default_backend() == "cpu":
        return free_host_bytes()
    stats = jax.local_devices()[0].memory_stats()
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats and "bytes_limit" in stats else None


def free_host_bytes() -> int | None:
    """Bytes of memory that this machine could still give to a process; None if it does not say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    available = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
    return 1024 * int(available.split()[1])


def block_bytes_per_device(shape: ModelConfig, config: EngineConfig) -> int:
    """Bytes that one block takes on each device: keys and values of its heads in all layers."""
    per_head = 2 * shape.num_layers * config.block_size * storage_dim(shape.head_dim) * jnp.dtype(config.dtype).itemsize
    return per_head * shape.num_kv_heads // config.tensor_parallel


def check_weights_fit(num_bytes: int, free: int | None) -> None:
    """Raises `DoesNotFit` if weights of `num_bytes` on a device exceed its `free` bytes."""
    if free is not None and num_bytes > free:
        raise DoesNotFit(
            f"the weights take {_size(num_bytes)} on each device and {_size(free)} are free: {_size(num_bytes - free)} too many; "
            "use --dtype bfloat16, --quantize int8 or more devices with --tensor-parallel"
        )


def check_host_pool_fits(num_bytes: int, free: int | None) -> None:
    """Raises `DoesNotFit` if a host pool of `num_bytes` exceeds the `free` bytes of this machine."""
    if free is not None and num_bytes > free:
        raise DoesNotFit(
            f"the host pool takes {_size(num_bytes)} and {_size(free)} of this machine's memory are free: "
            f"{_size(num_bytes - free)} too many; lower --host-kv-bytes"
        )


def num_blocks(shape: ModelConfig, config: EngineConfig, free: int | None) -> int:
    """Blocks of the pool, the null block included.

    What `config.num_blocks` says; or as many as `config.kv_fraction` of the free memory holds; or enough for every running
    request to be full, as far as `USABLE_SHARE` of the free memory holds them.

    Args:
        free: Bytes left on each device once the weights are there; None if unknown.

    Raises:
        DoesNotFit: If the blocks asked for, or one full request, exceed the memory.
        ValueError: If a share of an unknown memory is asked for.
    """
    each = block_bytes_per_device(shape, config)
    if config.num_blocks is not None:
        if free is not None and config.num_blocks * each > free:
            needed = config.num_blocks * each
            raise DoesNotFit(
                f"{config.num_blocks} KV blocks take {_size(needed)} on each device and {_size(free)} are free: "
                f"{_size(needed - free)} too many; {free // each} blocks would fit, or leave --kv-blocks out"
            )
        return config.num_blocks
    if config.kv_fraction is not None and free is None:
        raise ValueError("this platform does not say how much memory is free; give --kv-blocks instead of --kv-fraction")
    wanted = config.scheduler.max_num_seqs * config.max_blocks_per_request + 1
    if free is None:
        return wanted
    usable = int(free * (config.kv_fraction or USABLE_SHARE))
    needed, fitting = config.min_num_blocks * each, usable // each
    if needed > usable:
        raise DoesNotFit(
            f"one request of {config.scheduler.max_model_len} tokens (max_model_len) takes {_size(needed)} of KV blocks on each "
            f"device, {_size(needed - usable)} more than there is room for beside the weights; lower --max-model-len, use "
            "--dtype bfloat16 or --quantize int8, or more devices with --tensor-parallel"
        )
    return fitting if config.kv_fraction is not None else min(wanted, fitting)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
