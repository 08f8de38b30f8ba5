"""The engine and the scheduler that serve, on a machine whose steps cost time and compute nothing."""

from collections.abc import Sequence

from lamps_jax.sim.clock import VirtualClock
from lamps_jax.sim.executor import SimExecutor
from lamps_jax.sim.player import Parts, Player
from lamps_jax.sim.scripted import VirtualApiRunner
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.workload import Arrival


class Simulation(Player):
    """Plays the arrivals of a run in virtual time.

    Args:
        coming: See `Player`.

    Raises:
        ValueError: If the workload has no arrival times, or no rate is given where one is needed.
    """

    def __init__(self, spec: RunSpec, coming: Sequence[Arrival] | None = None):
        clock = VirtualClock()
        executor = SimExecutor(clock, spec.hardware.cost_model, blocking_swaps=spec.blocking_swaps)
        super().__init__(spec, Parts(clock, executor, VirtualApiRunner(clock)), coming)
