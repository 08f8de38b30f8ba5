"""Builds an engine from a model's directory: what the server, `LLM` and the benchmarks start from."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import jax

import lamps_jax
from lamps_jax.config import EngineConfig
from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.registry import LoadedModel, load_model
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.policy import system_named
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.tool import Tool

logger = logging.getLogger(__name__)

EMBEDDED_MODEL = Path(lamps_jax.__file__).parent / "embedded" / "model"
"""Directory of the model that ships with the package."""

Progress = Callable[[str, int, int], None]
"""``(what, done, total)`` of the work before the engine is ready."""


def model_directory(name: str) -> Path:
    """The directory of a model given on the command line: ``embedded`` or a path."""
    return EMBEDDED_MODEL if name == "embedded" else Path(name)


def build_engine(
    directory: Path,
    config: EngineConfig,
    tools: Iterable[Tool],
    *,
    progress: Progress = lambda what, done, total: None,
) -> Engine:
    """Loads the model, compiles every program and returns an engine that is ready to serve.

    The context is the shorter of the configured and the model's.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
        ValueError: If there is no policy of the configured name.
    """
    system_named(config.scheduler.policy)  # a wrong name should not have to wait for the weights
    if config.compile_cache:
        use_compile_cache(Path(config.compile_cache))
    model = load_model(directory, dtype=config.dtype, progress=lambda done, total: progress("loading weights", done, total))
    tokenizer = Tokenizer.from_directory(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer in {directory} has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}; "
            "they are not of the same model"
        )
    return assemble_engine(model, tokenizer, config, tools, progress=progress)


def assemble_engine(
    model: LoadedModel,
    tokenizer: Tokenizer,
    config: EngineConfig,
    tools: Iterable[Tool],
    *,
    progress: Progress = lambda what, done, total: None,
) -> Engine:
    """An engine for a model that is loaded already."""
    limits = replace(config.scheduler, max_model_len=min(config.scheduler.max_model_len, model.config.max_position))
    config = replace(config, scheduler=limits)
    num_blocks = config.num_blocks or limits.max_num_seqs * config.max_blocks_per_request + 1
    executor = JaxExecutor(model, config, num_blocks=num_blocks)
    logger.info(
        "%s: %.1f MB of weights, %d KV blocks of %d tokens (%.1f MB)",
        model.name, model.weight_bytes / 1e6, num_blocks, config.block_size, num_blocks * executor.block_bytes / 1e6,
    )  # fmt: skip
    executor.warm_up(lambda done, total: progress("compiling", done, total))
    engine = Engine(
        scheduler=Scheduler(limits, BlockManager(num_blocks, config.block_size)),
        executor=executor,
        api_runner=ThreadApiRunner(wake_up=lambda: engine.wake_up()),
        tokenizer=tokenizer,
        tools={tool.name: tool for tool in tools},
        eos_token_ids=model.eos_token_ids,
        default_temperature=model.default_temperature,
    )
    return engine


def use_compile_cache(directory: Path) -> None:
    """Keeps compiled programs in `directory` from now on, small and quickly compiled ones too."""
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
