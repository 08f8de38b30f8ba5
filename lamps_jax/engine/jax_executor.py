"""Runs plans on the device. The one owner of the KV pool, which every program donates and this class binds again."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lamps_jax.config import EngineConfig
from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.step import Programs, make_programs
from lamps_jax.kv_cache.pool import allocate, block_bytes
from lamps_jax.models.attention.select import select_attention
from lamps_jax.models.registry import LoadedModel
from lamps_jax.sched.plan import StepPlan, StepResult


@dataclass(frozen=True, slots=True)
class StepHandle:
    """A submitted step whose samples are still on their way from the device."""

    step_id: int
    samples: tuple[tuple[tuple[str, ...], jax.Array], ...]


class JaxExecutor:
    """Executes one plan after the other. To be used from one thread only: donation leaves no second reader a valid pool."""

    def __init__(self, model: LoadedModel, config: EngineConfig, *, num_blocks: int):
        # A matrix-vector product in bfloat16 falls off the CPU's fast path, so a batch of one is padded to two there.
        smallest = 2 if jax.default_backend() == "cpu" and config.dtype == "bfloat16" else 1
        self._batches = BatchBuilder(config, smallest_decode_batch=smallest)
        self._weights = model.weights
        shape = model.config
        self._pool = allocate(
            shape.num_layers, num_blocks, shape.num_kv_heads, config.block_size, shape.head_dim, dtype=config.dtype
        )
        self._last_tokens = jnp.zeros(config.scheduler.max_num_seqs + 1, jnp.int32)
        self.programs: Programs = make_programs(
            model.graph,
            model.parameter_names,
            select_attention(),
            block_size=config.block_size,
            max_blocks=config.max_blocks_per_request,
            eos_token_ids=model.eos_token_ids,
        )
        self.block_bytes = block_bytes(self._pool)

    def warm_up(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compiles and runs every program at every shape, so that nothing compiles afterwards."""
        work = [(self.programs.prefill, self._batches.empty_prefill(size)) for size in self._batches.chunk_sizes]
        work += [(self.programs.decode, self._batches.empty_decode(size)) for size in self._batches.decode_sizes]
        for done, (program, packed) in enumerate(work):
            progress(done, len(work))
            self._pool, self._last_tokens, sampled = program(self._weights, self._pool, self._last_tokens, packed)
            sampled.block_until_ready()
        progress(len(work), len(work))

    def submit(self, plan: StepPlan) -> StepHandle:
        """Dispatches a step; returns before the device has run it."""
        samples = []
        for chunk in plan.prefills:
            sampled = self._run(self.programs.prefill, self._batches.prefill(chunk))
            if chunk.sample:
                samples.append(((chunk.request_id,), sampled))
        if plan.decodes:
            sampled = self._run(self.programs.decode, self._batches.decode(plan.decodes))
            samples.append((tuple(decode.request_id for decode in plan.decodes), sampled))
        for _, sampled in samples:
            sampled.copy_to_host_async()
        return StepHandle(plan.step_id, tuple(samples))

    def collect(self, handle: StepHandle) -> StepResult:
        """Waits for a step's samples."""
        sampled: dict[str, int] = {}
        for request_ids, tokens in handle.samples:
            sampled.update(zip(request_ids, np.asarray(tokens).tolist(), strict=False))  # a bucket may be longer than its batch
        return StepResult(handle.step_id, sampled)

    def _run(self, program: Callable, packed: np.ndarray) -> jax.Array:
        self._pool, self._last_tokens, sampled = program(self._weights, self._pool, self._last_tokens, packed)
        return sampled
