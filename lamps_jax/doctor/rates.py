"""How fast the device copies, multiplies, and reaches the host: the yardsticks of every step and every swap."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import SingleDeviceSharding

from lamps_jax.doctor.check import Check, Status

SECONDS = 0.3
"""For each rate."""

COPY_BYTES = {"cpu": 2**26}
COPY_BYTES_ELSEWHERE = 2**30
"""Bytes of the array that is copied, by platform: too many for any cache."""

MATRIX_SIZE = {"cpu": 1024}
MATRIX_SIZE_ELSEWHERE = 8192

ALL_16_BIT_PATTERNS = np.arange(2**16, dtype=np.uint16)


def check_copy_bandwidth() -> Check:
    """Bytes read and written per second by a program that changes a large array in place."""
    size = COPY_BYTES.get(jax.default_backend(), COPY_BYTES_ELSEWHERE)
    change = jax.jit(lambda array: array + 1, donate_argnums=0)
    array = [jnp.zeros(size // 4, jnp.int32)]

    def copy() -> Any:
        array[0] = change(array[0])
        return array[0]

    rate = 2 * size / median_s(copy)
    return Check("copy bandwidth", Status.PASS, f"{rate / 1e9:.1f} GB/s read and written on the device", {"bytes_per_s": rate})


def check_host_transfer() -> Check:
    """Bytes per second to pinned host memory and back, and whether every pattern of 16 bits comes back."""
    device = jax.devices()[0]
    there, here = (SingleDeviceSharding(device, memory_kind=kind) for kind in ("pinned_host", device.default_memory().kind))
    patterns = jax.device_put(lax.bitcast_convert_type(ALL_16_BIT_PATTERNS, jnp.bfloat16), here)
    returned = lax.bitcast_convert_type(jax.device_put(jax.device_put(patterns, there), here), jnp.uint16)
    wrong = int((np.asarray(returned) != ALL_16_BIT_PATTERNS).sum())
    if wrong:
        detail = f"{wrong} of 65536 bfloat16 patterns come back changed from pinned host memory; use --host-kv-bytes 0"
        return Check("host transfer", Status.FAIL, detail, {"changed_patterns": wrong})
    size = COPY_BYTES.get(device.platform, COPY_BYTES_ELSEWHERE) // 4
    on_device = jax.device_put(jnp.zeros(size // 4, jnp.int32), here)
    on_host = jax.device_put(on_device, there)
    out = size / median_s(lambda: jax.device_put(on_device, there))
    back = size / median_s(lambda: jax.device_put(on_host, here))
    detail = f"{out / 1e9:.1f} GB/s to pinned host memory, {back / 1e9:.1f} GB/s back, bits unchanged"
    return Check("host transfer", Status.PASS, detail, {"to_host_bytes_per_s": out, "to_device_bytes_per_s": back})


def check_matrix_rate(dtype: str) -> Check:
    """Operations per second of a product as the models' layers compute it: `dtype` in, float32 out."""
    size = MATRIX_SIZE.get(jax.default_backend(), MATRIX_SIZE_ELSEWHERE)
    x = jnp.ones((size, size), dtype)
    multiply = jax.jit(
        lambda x, weight: lax.dot_general(x, weight, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
    )
    rate = 2 * size**3 / median_s(lambda: multiply(x, x))
    detail = f"{rate / 1e12:.2f} TFLOP/s in {dtype}, matrices of {size}"
    return Check("matrix rate", Status.PASS, detail, {"flop_per_s": rate, "dtype": dtype, "size": size})


def median_s(run: Callable[[], Any], *, seconds: float = SECONDS) -> float:
    """Median time of `run`, which returns arrays that are waited for; the first run compiles and is not counted."""
    jax.block_until_ready(run())
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    return statistics.median(times)
