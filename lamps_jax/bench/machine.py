"""A model on this machine, loaded, compiled and measured once for all runs of a bench."""

from dataclasses import dataclass
from pathlib import Path

from lamps_jax.config import EngineConfig
from lamps_jax.engine.build import Progress, build_executor
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.engine.measure import Measurement, measure_cost_model
from lamps_jax.sim.hardware import Hardware


@dataclass(frozen=True, slots=True)
class LiveMachine:
    """What a run needs of the machine that it runs on.

    Attributes:
        hardware: The same machine as the simulator sees it, with the measured costs.
        measurement: What those rest on.
    """

    executor: JaxExecutor
    hardware: Hardware
    vocab_size: int
    measurement: Measurement


def prepare_machine(directory: Path, config: EngineConfig, *, progress: Progress = lambda what, done, total: None) -> LiveMachine:
    """Loads the model, compiles every program, and measures what steps and swaps cost.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
        ValueError: As `build_executor` does.
    """
    model, config, executor = build_executor(directory, config, progress=progress)
    assert config.num_blocks is not None
    progress("measuring", 0, 1)
    measurement = measure_cost_model(executor, config, num_blocks=config.num_blocks, num_host_blocks=executor.num_host_blocks)
    progress("measuring", 1, 1)
    scheduler = config.scheduler
    hardware = Hardware(
        "this machine",
        model.name,
        measurement.cost_model,
        config.block_size,
        (config.num_blocks - 1) * config.block_size,
        executor.num_host_blocks * config.block_size,
        scheduler.token_budget,
        scheduler.max_num_seqs,
        scheduler.max_model_len,
        source="measured just now",
    )
    return LiveMachine(executor, hardware, model.config.vocab_size, measurement)
