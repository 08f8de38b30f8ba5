"""Checks of one model as it would be served: programs and their compilation, costs of steps, its blocks' way to the host."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from lamps_jax.config import EngineConfig
from lamps_jax.doctor.check import Check, Status
from lamps_jax.engine.build import EMBEDDED_MODEL, sized, use_compile_cache
from lamps_jax.engine.jax_executor import JaxExecutor, attention_shape
from lamps_jax.engine.measure import Fit, Measurement, measure_cost_model
from lamps_jax.models.attention.self_test import self_test_all
from lamps_jax.models.registry import LoadedModel, load_model, read_model_config
from lamps_jax.sched.plan import BlockCopy, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

POOR_MEDIAN_ERROR, POOR_R_SQUARED = 0.25, 0.8
"""Beyond these a fit says little: half the points are off by more than a quarter, or a fifth of the variance is unexplained."""

MEASURING_S = 3.0

ROUND_TRIP_BLOCKS = 4

Progress = Callable[[str, int, int], None]


class ServedModel:
    """A model and the warm executor that `check_programs` leaves for the checks after it.

    Args:
        config: As for the engine, which sizes it the same way when the weights are there.

    Raises:
        CheckpointError: If `directory` does not hold a model that is known.
    """

    def __init__(self, directory: Path, config: EngineConfig, progress: Progress = lambda what, done, total: None):
        read_model_config(directory)
        self._config, self._num_blocks = config, 0
        self._directory, self._progress = directory, progress
        self._name = "embedded" if directory == EMBEDDED_MODEL else directory.resolve().name
        self._model: LoadedModel | None = None
        self._executor: JaxExecutor | None = None
        self._measurement: Measurement | None = None
        self._compilations: tuple[_Compilations, _Compilations] | None = None

    def check_model(self) -> Check:
        """Whether the weights load."""
        started = time.perf_counter()
        self._model = load_model(
            self._directory,
            dtype=self._config.dtype,
            load_format=self._config.load_format,
            progress=lambda done, total: self._progress("loading weights", done, total),
        )
        took, shape = time.perf_counter() - started, self._model.config
        self._config = sized(self._config, shape)
        assert self._config.num_blocks is not None
        self._num_blocks = self._config.num_blocks
        detail = (
            f"{self._name}: {type(shape).__name__.removesuffix('Config')}, {shape.num_layers} layers, head size "
            f"{shape.head_dim}, {self._model.weight_bytes / 1e6:.1f} MB in {self._config.dtype}, loaded in {took:.2f} s"
        )
        return Check("model", Status.PASS, detail, {"weight_bytes": self._model.weight_bytes, "load_s": took})

    def check_programs(self) -> Check:
        """Compiles all programs twice, the second time from the cache; their sizes, and whether the pool stays in place."""
        model = _made(self._model, "the model did not load")
        with _temporary_compile_cache():
            cold = self._warm_up(model, "compiling")
            warm = self._warm_up(model, "compiling again")
            executor = _made(self._executor, "")
            sizes = [{"program": name, **_sizes(lowered.compile())} for name, lowered in executor.lowered()]
        self._compilations = (cold, warm)
        copying = [row["program"] for row in sizes if row["aliased_bytes"] < executor.kv_bytes_per_device]
        data = {"num_compiled": cold.misses, "cold_s": cold.seconds, "warm_s": warm.seconds, "programs": sizes}
        detail = (
            f"{cold.misses} programs ready in {cold.seconds:.1f} s, from the cache in {warm.seconds:.1f} s; at most "
            f"{max(row['temporary_bytes'] for row in sizes) / 1e6:.1f} MB beside the pool"
        )
        if copying:
            return Check("programs", Status.WARN, f"{detail}; these copy the KV pool at every step: {', '.join(copying)}", data)
        return Check("programs", Status.PASS, f"{detail}; the KV pool is updated in place", data)

    def check_compile_cache(self) -> Check:
        """Whether a second start would find every program compiled."""
        cold, warm = _made(self._compilations, "the programs did not compile")
        data = {"hits": warm.hits, "misses": warm.misses}
        if cold.misses and not warm.misses and warm.hits:
            return Check("compile cache", Status.PASS, f"all {warm.hits} programs found at the second start", data)
        detail = (
            f"{warm.hits} programs found at the second start and {warm.misses} not: each start compiles again; "
            "XLA may not be able to store programs for this device"
        )
        return Check("compile cache", Status.WARN, detail, data)

    def check_attention(self) -> Check:
        """What the self-test of every attention backend comes to on this model's shapes."""
        executor, model = _made(self._executor, "the programs did not compile"), _made(self._model, "")
        results = self_test_all(attention_shape(model, self._config, None))
        outcomes: dict[str, list[str]] = {}
        for result in results:
            outcomes.setdefault(result.backend, []).append(result.outcome)
        words = {
            name: "failed" if "failed" in of else "refused" if "refused" in of else "passed" for name, of in outcomes.items()
        }
        listing = ", ".join(f"{name} {word}" for name, word in words.items())
        broken = next((result for result in results if result.outcome == "failed"), None)
        data = {"used": executor.attention.name, "self_tests": [asdict(result) for result in results]}
        if broken is None:
            return Check("attention", Status.PASS, f"uses {executor.attention.name}; {listing}", data)
        status = Status.FAIL if words[executor.attention.name] == "failed" else Status.WARN
        detail = f"uses {executor.attention.name}; {listing}; {broken.backend}, {broken.case}: {broken.detail}"
        return Check("attention", status, detail, data)

    def check_cost_model(self) -> Check:
        """What steps and swaps cost, and how well a linear law describes it."""
        executor = _made(self._executor, "the programs did not compile")
        self._measurement = measurement = measure_cost_model(
            executor,
            self._config,
            num_blocks=self._num_blocks,
            num_host_blocks=executor.num_host_blocks,
            budget_s=MEASURING_S,
        )
        executor.host_pool.clear()
        fits = {"forward": measurement.forward} | ({"swap": measurement.swap} if measurement.swap else {})
        data = {"cost_model": self._constants(measurement)} | {f"{name}_fit": _fit_data(fit) for name, fit in fits.items()}
        costs = measurement.cost_model
        detail = (
            f"T_fwd = {1e3 * costs.forward_base_s:.3f} ms + {1e6 * costs.forward_per_token_s:.2f} µs a token + "
            f"{1e6 * costs.forward_per_context_token_s:.3f} µs a token of context"
        )
        if measurement.swap:
            detail += f"; T_swap = {1e3 * costs.swap_base_s:.3f} ms + {1e6 * costs.swap_per_block_s:.1f} µs a block"
        quality = [
            f"{name} fit off by {100 * fit.median_relative_error:.0f} %, R² {fit.r_squared:.2f}" for name, fit in fits.items()
        ]
        poor = [name for name, fit in fits.items() if is_poor(fit)]
        detail = f"{detail}; {', '.join(quality)}"
        if poor:
            return Check("cost model", Status.WARN, f"{detail}; poor: run the doctor again while nothing else is running", data)
        return Check("cost model", Status.PASS, detail, data)

    def check_kv_round_trip(self) -> Check:
        """Whether blocks that go to the host come back into other blocks bit by bit."""
        executor = _made(self._executor, "the programs did not compile")
        count = min(ROUND_TRIP_BLOCKS, executor.num_host_blocks, (self._num_blocks - 1) // 2, self._config.max_blocks_per_request)
        if not count:
            return Check("KV round trip", Status.WARN, "no host blocks, nothing can be swapped; give more --host-kv-bytes")
        left, others = list(range(1, count + 1)), list(range(count + 1, 2 * count + 1))
        self._fill(executor, left, seed=0)
        before = _bits(executor, left)
        executor.submit(StepPlan(0, swap_outs=tuple(BlockCopy(block, host) for host, block in enumerate(left))))
        self._fill(executor, left, seed=1)  # so that what comes back cannot be what was never taken away
        executor.submit(StepPlan(0, swap_ins=tuple(BlockCopy(block, host) for host, block in enumerate(others))))
        lost = executor.collect(executor.submit(StepPlan(0))).lost_blocks
        after = _bits(executor, others)
        executor.host_pool.clear()
        changed = sum(not np.array_equal(was, now) for was, now in zip(before, after, strict=True))
        data = {"num_blocks": count, "num_changed": changed, "num_lost": len(lost)}
        if changed:
            detail = f"{changed} of {count} blocks come back changed, {len(lost)} of them not at all; use --host-kv-bytes 0"
            return Check("KV round trip", Status.FAIL, detail, data)
        return Check("KV round trip", Status.PASS, f"{count} blocks come back from the host into others, bit by bit", data)

    def profile(self) -> dict[str, Any] | None:
        """What a simulator must know of this model on this machine; None unless everything about it was measured."""
        if self._model is None or self._executor is None or self._measurement is None:
            return None
        executor, size = self._executor, self._config.block_size
        return {
            "model": self._name,
            "dtype": self._config.dtype,
            "cost_model": self._constants(self._measurement),
            "block_size": size,
            "block_bytes": executor.block_bytes,
            "kv_blocks": self._num_blocks - 1,
            "kv_tokens": (self._num_blocks - 1) * size,
            "host_blocks": executor.num_host_blocks,
            "weight_bytes": self._model.weight_bytes,
            "token_budget": self._config.scheduler.token_budget,
            "max_chunk_tokens": self._config.scheduler.max_chunk_tokens,
            "max_num_seqs": self._config.scheduler.max_num_seqs,
            "max_model_len": self._config.scheduler.max_model_len,
        }

    def _warm_up(self, model: LoadedModel, what: str) -> "_Compilations":
        self._executor = None  # its pool goes before the next one comes
        with _Compilations() as compilations:
            executor = JaxExecutor(model, self._config, num_blocks=self._num_blocks)
            executor.warm_up(lambda done, total: self._progress(what, done, total))
        self._executor = executor
        return compilations

    def _fill(self, executor: JaxExecutor, blocks: list[int], *, seed: int) -> None:
        """Computes a text into `blocks`, in as many chunks as it takes."""
        model, chunk = _made(self._model, ""), self._config.scheduler.max_chunk_tokens
        length = min(len(blocks) * self._config.block_size, self._config.scheduler.max_model_len)
        tokens = np.random.default_rng(seed).integers(model.config.vocab_size, size=length).tolist()
        for start in range(0, length, chunk):
            part = tokens[start : start + chunk]
            executor.submit(
                StepPlan(0, (PrefillChunk("", 0, part, start, blocks, SamplingParams(), sample=False, ban_eos=False),))
            )

    @staticmethod
    def _constants(measurement: Measurement) -> dict[str, float | None]:
        """The coefficients; those of swaps are None where none were measured, which is not the same as for nothing."""
        constants: dict[str, float | None] = asdict(measurement.cost_model)
        return constants if measurement.swap else constants | {"swap_base_s": None, "swap_per_block_s": None}


def is_poor(fit: Fit) -> bool:
    """Whether a fit says little of what a step costs."""
    return fit.median_relative_error > POOR_MEDIAN_ERROR or fit.r_squared < POOR_R_SQUARED


@dataclass(slots=True)
class _Compilations:
    """A context that counts programs found in the cache and programs compiled, and takes the time."""

    hits: int = 0
    misses: int = 0
    seconds: float = 0.0

    def _count(self, event: str, **_: object) -> None:
        self.hits += event == "/jax/compilation_cache/cache_hits"
        self.misses += event == "/jax/compilation_cache/cache_misses"

    def __enter__(self) -> "_Compilations":
        jax.monitoring.register_event_listener(self._count)
        self.seconds = -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        jax.monitoring.unregister_event_listener(self._count)


@contextmanager
def _temporary_compile_cache() -> Iterator[None]:
    """An empty cache of compiled programs, gone afterwards."""
    names = (
        "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes"
    )  # fmt: skip
    before = {name: getattr(jax.config, name) for name in names}
    with TemporaryDirectory() as directory:
        compilation_cache.reset_cache()
        use_compile_cache(Path(directory))
        try:
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


def _made(thing: Any, otherwise: str) -> Any:
    """`thing`, if an earlier check has made it."""
    if thing is None:
        raise RuntimeError(otherwise)
    return thing


def _sizes(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes of a program's code, of what it needs beside its arguments, and of the arguments that it updates in place."""
    memory = compiled.memory_analysis()
    assert memory is not None
    return {
        "code_bytes": memory.generated_code_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
    }


def _fit_data(fit: Fit) -> dict[str, Any]:
    return {
        "r_squared": fit.r_squared,
        "median_relative_error": fit.median_relative_error,
        "max_relative_error": fit.max_relative_error,
        "points": [asdict(point) | {"relative_error": point.relative_error} for point in fit.points],
    }


def _bits(executor: JaxExecutor, blocks: list[int]) -> list[np.ndarray]:
    return [block.view(np.uint8) for block in executor.read_blocks(blocks)]
