"""One run of the simulator, from what is asked for to what came of it."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lamps_jax.sim.results import results
from lamps_jax.sim.simulation import Simulation
from lamps_jax.sim.spec import RunSpec


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Has Python look for cyclic garbage less often: a simulation makes millions of objects and few cycles.

    Looking takes up to a third of its time otherwise.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def simulate(spec: RunSpec) -> dict[str, Any]:
    """Runs `spec`, and gives what the results document says of a run.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """
    began = time.perf_counter()
    simulation = Simulation(spec)
    with seldom_collected():
        simulation.run()
    return results(simulation, wall_s=time.perf_counter() - began)
