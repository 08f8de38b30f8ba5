"""Copies between host and device that fail: at once, or later as a real copy does."""

import contextlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import dispatch
from jax.sharding import Sharding


class FaultyBus:
    """Copies like `jax.device_put`, but for the blocks that it is told to fail."""

    def __init__(self) -> None:
        self.refuse = self.break_later = lambda index, sharding: False
        self.num_begun = 0

    def __call__(self, arrays: tuple[jax.Array, ...], sharding: Sharding) -> Sequence[jax.Array]:
        numbers = range(self.num_begun, self.num_begun + len(arrays))
        if any(self.refuse(number, sharding) for number in numbers):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no memory for the copy")
        self.num_begun += len(arrays)
        return [
            broken(array, sharding) if self.break_later(number, sharding) else jax.device_put(array, sharding)
            for number, array in zip(numbers, arrays, strict=True)
        ]


def broken(array: jax.Array, sharding: Sharding) -> jax.Array:
    """An array that turns out later to be an error."""

    def fail(x: np.ndarray, late: np.ndarray) -> np.ndarray:
        raise RuntimeError("lost on the bus")

    # Where an input is not there yet, a program is not run at once, and its error does not come at once.
    late = jax.jit(lambda x: jax.lax.fori_loop(0, 30, lambda _, y: y @ y * 1e-3, x)).lower(jnp.ones((400, 400))).compile()
    shape = jax.ShapeDtypeStruct(array.shape, array.dtype)
    failing = jax.jit(lambda x, late: jax.pure_callback(fail, shape, x, late[0, 0]), out_shardings=sharding)
    compiled = failing.lower(array, jnp.ones((400, 400))).compile()
    return compiled(array, late(jnp.ones((400, 400))))


@contextlib.contextmanager
def faulty_bus() -> Iterator[FaultyBus]:
    """A bus of which nothing is left at the end."""
    yield FaultyBus()
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.effects_barrier()
    dispatch.runtime_tokens.clear()  # else every later barrier of this process raises the errors of the callbacks again
