"""Builds an engine from a model's directory: what the server, `LLM` and the benchmarks start from."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax

import lamps_jax
from lamps_jax.config import EngineConfig
from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.engine.call_results import working_format
from lamps_jax.engine.distributed import agree
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.grammar import Grammars
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.engine.measure import measure_cost_model
from lamps_jax.engine.pool_size import check_host_pool_fits, check_weights_fit, free_bytes, free_host_bytes, num_blocks
from lamps_jax.kv_cache.offload import allow_pinned_memory
from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.registry import LoadedModel, load_model, read_model_config
from lamps_jax.models.sharding import tensor_parallel_mesh
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.estimates import LatePredictor, Predictor
from lamps_jax.sched.policy import system_of
from lamps_jax.sched.prefix_index import cost_aware, least_recently_used
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.tool import Tool

logger = logging.getLogger(__name__)

EMBEDDED_MODEL = Path(lamps_jax.__file__).parent / "embedded" / "model"
"""Directory of the model that ships with the package."""

PredictorFactory = Callable[[Tokenizer, Callable[[], None]], Predictor]
"""Makes a predictor for requests in the tokens of a tokenizer; it calls what it is given when it has more to say."""

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
    predictor: PredictorFactory | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Engine:
    """Loads the model, compiles every program and returns an engine that is ready to serve.

    The context is the shorter of the configured and the model's. Of several processes, the first calls this, the others `follow`.

    Args:
        predictor: Makes what says what requests will do; None learns it from those that have been served.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
        ValueError: If there is no policy of the configured name, the model cannot be split over the configured number of devices,
            or the other processes have other options.
    """
    system_of(config.scheduler)  # a wrong name should not have to wait for the weights
    model = _load(directory, config, progress)
    tokenizer = Tokenizer.from_directory(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer in {directory} has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}; "
            "they are not of the same model"
        )
    return assemble_engine(model, tokenizer, config, tools, predictor=predictor, progress=progress)


def build_executor(
    directory: Path, config: EngineConfig, *, progress: Progress = lambda what, done, total: None
) -> tuple[LoadedModel, EngineConfig, JaxExecutor]:
    """The model in a directory, the configuration with all sizes known, and an executor with every program compiled.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
        ValueError: If the model cannot be split over the configured number of devices.
    """
    model = _load(directory, config, progress)
    config = sized(config, model.config)
    return model, config, _warm_executor(model, config, progress)


def assemble_engine(
    model: LoadedModel,
    tokenizer: Tokenizer,
    config: EngineConfig,
    tools: Iterable[Tool],
    *,
    predictor: PredictorFactory | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Engine:
    """An engine for a model that is loaded already."""
    config = sized(config, model.config)
    call_format = working_format(config.tool_format, tokenizer)
    executor = _warm_executor(model, config, progress)
    asked = None if predictor is None else predictor(tokenizer, lambda: engine.wake_up())
    engine = Engine(
        scheduler=_scheduler(executor, config, asked, progress),
        executor=executor,
        api_runner=ThreadApiRunner(wake_up=lambda: engine.wake_up()),
        tokenizer=tokenizer,
        tools={tool.name: tool for tool in tools},
        eos_token_ids=model.eos_token_ids,
        default_temperature=model.default_temperature,
        call_format=call_format,
        late_predictor=asked if isinstance(asked, LatePredictor) else None,
        grammars=Grammars(tokenizer, vocab_size=model.config.vocab_size, eos_token_ids=model.eos_token_ids),
    )
    return engine


def _scheduler(executor: JaxExecutor, config: EngineConfig, predictor: Predictor | None, progress: Progress) -> Scheduler:
    """A scheduler over the executor's blocks; where they are weighed, with the measured cost of steps and swaps."""
    assert config.num_blocks is not None
    num_host_blocks, cost_model = executor.num_host_blocks, None
    if config.host_kv_bytes and not num_host_blocks:
        logger.warning("host_kv_bytes of %d hold no KV block, which has %d bytes", config.host_kv_bytes, executor.block_bytes)
    if config.scheduler.policy == "swap" and not num_host_blocks:
        logger.warning(
            "the policy swap has no host memory to swap to; give --host-kv-bytes (a KV block has %d)", executor.block_bytes
        )
    if num_host_blocks or system_of(config.scheduler).needs_costs:
        progress("measuring", 0, 1)
        measured = measure_cost_model(executor, config, num_blocks=config.num_blocks, num_host_blocks=num_host_blocks)
        executor.host_pool.clear()
        cost_model = measured.cost_model
        logger.info(
            "%d host blocks (%.1f MB); a block takes %.2f ms to swap, a step %.2f ms and %.3f ms a token",
            num_host_blocks, num_host_blocks * executor.block_bytes / 1e6,
            *(1e3 * value for value in (cost_model.swap_per_block_s, cost_model.forward_base_s, cost_model.forward_per_token_s)),
        )  # fmt: skip
        progress("measuring", 1, 1)
    eviction = least_recently_used
    if config.scheduler.eviction == "cost":
        eviction = cost_aware(cost_model or UNIT_COSTS, config.block_size, config.scheduler.cache_decay_s)
    blocks = BlockManager(config.num_blocks, config.block_size, num_host_blocks=num_host_blocks, eviction=eviction)
    return Scheduler(config.scheduler, blocks, cost_model, predictor)


UNIT_COSTS = CostModel(0.0, 1.0, 0.0, 0.0, 0.0)
"""Where nothing was measured a token costs as much as any other, and blocks differ by their likelihood of reuse alone."""


def follow(directory: Path, config: EngineConfig, *, progress: Progress = lambda what, done, total: None) -> bool:
    """Loads and compiles what `build_engine` does in process 0, runs what it runs until it ends, and says whether it ended well.

    Raises:
        CheckpointError: If the directory does not hold a model that can be run.
        ValueError: If the model cannot be split over the configured number of devices, or process 0 has other options.
        ConnectionError: If process 0 is gone without a word.
    """
    model = _load(directory, config, progress)
    return _warm_executor(model, sized(config, model.config), progress).follow()


def check_devices(directory: Path, config: EngineConfig) -> None:
    """Raises what `build_engine` would of a model that is not there or cannot be split, without loading it."""
    allow_pinned_memory(config.host_kv_bytes)
    tensor_parallel_mesh(config.tensor_parallel, read_model_config(directory))


def _load(directory: Path, config: EngineConfig, progress: Progress) -> LoadedModel:
    if config.compile_cache:
        use_compile_cache(Path(config.compile_cache))
    allow_pinned_memory(config.host_kv_bytes)  # before JAX is first asked for its devices, below
    check_host_pool_fits(config.host_kv_bytes, free_host_bytes())
    shape = read_model_config(directory)
    mesh = tensor_parallel_mesh(config.tensor_parallel, shape)
    agree({"version": lamps_jax.__version__, "jax": jax.__version__, "model": shape, **_options(config)})
    return load_model(
        directory,
        dtype=config.dtype,
        quantize=config.quantize,
        load_format=config.load_format,
        mesh=mesh,
        before_reading=lambda num_bytes: check_weights_fit(num_bytes, free_bytes()),
        progress=lambda done, total: progress("loading weights", done, total),
    )


def _options(config: EngineConfig) -> dict[str, Any]:
    """What must be the same in all processes."""
    options = asdict(config)
    options |= options.pop("scheduler")
    del options["compile_cache"]
    return options


def sized(config: EngineConfig, shape: ModelConfig) -> EngineConfig:
    """`config` with a context no longer than the model's, and a number of blocks.

    Of several processes each would find another amount of free memory, so there the memory decides nothing.
    """
    max_model_len = min(config.scheduler.max_model_len, shape.max_position)
    config = replace(config, scheduler=replace(config.scheduler, max_model_len=max_model_len))
    free = free_bytes() if jax.process_count() == 1 else None
    return replace(config, num_blocks=num_blocks(shape, config, free), kv_fraction=None)


def _warm_executor(model: LoadedModel, config: EngineConfig, progress: Progress) -> JaxExecutor:
    assert config.num_blocks is not None
    executor = JaxExecutor(model, config, num_blocks=config.num_blocks)
    devices = f"each of {executor.num_devices} devices" if executor.num_devices > 1 else "one device"
    logger.info(
        "%s on %s: %.1f MB of weights, %d KV blocks of %d tokens (%.1f MB), attention %s",
        model.name, devices, executor.weight_bytes_per_device / 1e6,
        config.num_blocks, config.block_size, executor.kv_bytes_per_device / 1e6, executor.attention.name,
    )  # fmt: skip
    executor.warm_up(lambda done, total: progress("compiling", done, total))
    return executor


def use_compile_cache(directory: Path) -> None:
    """Keeps compiled programs in `directory` from now on, small and quickly compiled ones too."""
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
