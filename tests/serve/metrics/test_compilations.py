import jax
import jax.numpy as jnp

from lamps_jax.serve.metrics.compilations import CompilationCounter


def test_programs_are_counted_once_and_no_more_when_it_has_stopped():
    counter = CompilationCounter()
    program = jax.jit(lambda x: x * 3 + 54321)
    x = jnp.ones(7)
    before = counter.count
    program(x)
    assert (after := counter.count) == before + 1
    program(x)
    assert counter.count == after
    counter.stop()
    counter.stop()
    jax.jit(lambda x: x * 3 + 54322)(x)
    assert counter.count == after
