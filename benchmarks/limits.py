"""What a device can do at best: the limits that measured times are set against. Measured, not read off a data sheet."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding


def fastest_s(act: Callable[[], object], repeats: int) -> float:
    """The least of several times of `act`, after one that does not count."""
    seconds: list[float] = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def copy_bandwidth(megabytes: int = 256, repeats: int = 7) -> float:
    """Bytes per second, read and written, of the fastest of several passes over a large array.

    Each is of a few passes in a row, so that the time of a call does not count.
    """
    x, passes = jnp.ones(megabytes * 2**20 // 4, jnp.float32), 4
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def act() -> None:
        nonlocal x
        for _ in range(passes):
            x = add(x)
        x.block_until_ready()

    return 2 * passes * x.nbytes / fastest_s(act, repeats)


def matmul_rate(dtype: str, size: int = 8192, repeats: int = 10) -> float:
    """Floating-point operations per second of a square product of random matrices that accumulates in float32.

    The median of several, each of a few products in a row, so that the time of a call does not count.
    """
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), jnp.float32).astype(dtype) for key in keys)
    product = jax.jit(lambda a, b: jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32))
    products = 4
    seconds: list[float] = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready([product(a, b) for _ in range(products)])
        seconds.append((time.perf_counter() - start) / products)
    return 2 * size**3 / statistics.median(seconds[1:])


def host_copy_rates(megabytes: int = 256, repeats: int = 5) -> dict[str, float]:
    """Bytes per second of one large copy to pinned host memory ("out") and back ("in")."""
    on_device = SingleDeviceSharding(jax.devices()[0])
    on_host = on_device.with_memory_kind("pinned_host")
    device = jnp.ones(megabytes * 2**20 // 4, jnp.float32)
    host = jax.device_put(device, on_host).block_until_ready()
    return {
        "out": device.nbytes / fastest_s(lambda: jax.device_put(device, on_host).block_until_ready(), repeats),
        "in": device.nbytes / fastest_s(lambda: jax.device_put(host, on_device).block_until_ready(), repeats),
    }
