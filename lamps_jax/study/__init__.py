"""The command line of those who study policies: ``lamps-jax simulate`` and ``lamps-jax bench``."""

from lamps_jax.study.bench import bench
from lamps_jax.study.simulate import simulate

__all__ = ["bench", "simulate"]
