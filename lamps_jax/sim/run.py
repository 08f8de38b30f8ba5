"""One run of the simulator, from what is asked for to what came of it."""

import time
from typing import Any

from lamps_jax.sim.results import results
from lamps_jax.sim.simulation import Simulation
from lamps_jax.sim.spec import RunSpec


def simulate(spec: RunSpec) -> dict[str, Any]:
    """Runs `spec`, and gives what the results document says of a run.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """
    began = time.perf_counter()
    simulation = Simulation(spec)
    simulation.run()
    return results(simulation, wall_s=time.perf_counter() - began)
