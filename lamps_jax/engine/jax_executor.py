"""Runs plans on the device. The one owner of the KV pool, which every program donates and this class binds again."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from lamps_jax.config import EngineConfig
from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.distributed import Leader, Run, follow
from lamps_jax.engine.step import Layout, Programs, make_programs
from lamps_jax.kv_cache.offload import HostPool, Transfer, bucket_sizes, in_buckets
from lamps_jax.kv_cache.pool import allocate, block_bytes, storage_dim
from lamps_jax.models.attention.select import select_attention
from lamps_jax.models.attention.self_test import AttentionShape
from lamps_jax.models.registry import LoadedModel
from lamps_jax.models.sharding import BY_HEAD, REPLICATED, bytes_per_device
from lamps_jax.sched.plan import BlockCopy, StepPlan, StepResult


@dataclass(frozen=True, slots=True)
class StepHandle:
    """A submitted step whose samples are still on their way from the device.

    Attributes:
        message: Number of the last message that told the other processes of it; None if there are no others.
        lost_blocks: As in `StepResult`.
    """

    step_id: int
    samples: tuple[tuple[tuple[str, ...], jax.Array], ...]
    message: int | None = None
    lost_blocks: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Shape:
    """One compilation of a computing program.

    Attributes:
        program: prefill or decode.
        size: Tokens of the chunk, or rows of the batch.
        packed: Padding of that shape.
    """

    program: str
    size: int
    packed: np.ndarray


class JaxExecutor:
    """Executes one plan after the other. To be used from one thread only: donation leaves no second reader a valid pool.

    It computes where the model's weights are: on one device, or on the mesh that they are sharded over. Of several processes, the
    first calls `submit` and `collect`, the others `follow`.

    Attributes:
        block_bytes: Bytes of one KV block over all layers and devices.
        num_devices: Devices that compute together.
        attention: The attention backend that passed its self-test, and what those that were tried came to.
        weight_bytes_per_device: Bytes of weights that each holds.
        kv_bytes_per_device: Bytes of the KV pool that each holds.
        num_host_blocks: Blocks that fit into `config.host_kv_bytes`.
        host_pool: Those blocks, and the counts of what was swapped.
    """

    def __init__(self, model: LoadedModel, config: EngineConfig, *, num_blocks: int, transfer: Transfer = jax.device_put):
        # A matrix-vector product in bfloat16 falls off the CPU's fast path, so a batch of one is padded to two there.
        smallest = 2 if jax.default_backend() == "cpu" and config.dtype == "bfloat16" else 1
        self._batches = BatchBuilder(config, smallest_decode_batch=smallest)
        self._weights = model.weights
        layout, shape = layout_of(model), model.config
        # Placed from the start like what the programs return: where an array may lie anywhere, it has a compilation of its own.
        one_device = model.weights[0].sharding
        by_head = NamedSharding(layout.mesh, BY_HEAD) if layout else one_device
        self._pool = allocate(
            shape.num_layers,
            num_blocks,
            shape.num_kv_heads,
            config.block_size,
            shape.head_dim,
            dtype=config.dtype,
            sharding=by_head,
        )
        replicated = NamedSharding(layout.mesh, REPLICATED) if layout else one_device
        self._last_tokens = jnp.zeros(config.scheduler.max_num_seqs + 1, jnp.int32, device=replicated)
        self.attention = select_attention(config.attention, attention_shape(model, config, layout))
        self.programs: Programs = make_programs(
            model.graph,
            model.parameter_names,
            self.attention.attend,
            block_size=config.block_size,
            max_blocks=config.max_blocks_per_request,
            eos_token_ids=model.eos_token_ids,
            layout=layout,
        )
        self._leader = Leader() if jax.process_count() > 1 and jax.process_index() == 0 else None
        self.block_bytes = block_bytes(self._pool)
        self.num_host_blocks = config.host_kv_bytes // self.block_bytes
        self.host_pool = HostPool(self.num_host_blocks, self.block_bytes, by_head, transfer=transfer)
        self._swap_sizes = bucket_sizes(min(self.num_host_blocks, num_blocks))
        self.num_devices = layout.mesh.size if layout else 1
        self.weight_bytes_per_device = bytes_per_device(model.weights)
        self.kv_bytes_per_device = bytes_per_device(array for layer in self._pool for array in layer)

    def warm_up(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compiles and runs every program at every shape, so that nothing compiles afterwards; in every process."""
        shapes = self.shapes()
        total = len(shapes) + 2 * len(self._swap_sizes)
        self.compile(shapes, lambda done: progress(done, total))
        for shape in shapes:
            sampled = self._run(shape.program, shape.packed)
            assert sampled is not None
            sampled.block_until_ready()
        for done, size in enumerate(self._swap_sizes):
            progress(len(shapes) + 2 * done, total)
            blocks = np.arange(size, dtype=np.int32)  # each goes and comes back to where it was
            self._run("swap_out", np.stack([blocks, blocks], axis=1))
            self._run("bring", np.stack([blocks, blocks], axis=1))
            self.host_pool.wait()
            progress(len(shapes) + 2 * done + 1, total)
            self._run("swap_in", blocks)
            jax.block_until_ready(self._pool)
        self.host_pool.clear()
        progress(total, total)

    def compile(self, shapes: Sequence[Shape], progress: Callable[[int], None] = lambda done: None) -> None:
        """Compiles programs, several at once; they are found when they are first called.

        On a GPU a compiler spends most of its time on one core, or trying variants on the device.
        """
        threads = 1 if jax.default_backend() == "cpu" or jax.process_count() > 1 else min(len(shapes), os.cpu_count() or 1)
        with ThreadPoolExecutor(threads) as pool:
            compiling = [pool.submit(lambda shape=shape: self._lowered(shape).compile()) for shape in shapes]
            for done, one in enumerate(compiling):
                progress(done)
                one.result()

    def submit(self, plan: StepPlan) -> StepHandle:
        """Dispatches a step; returns before the device has run it.

        It waits only for blocks that the plan before swapped in, which have had that step's time to arrive.
        """
        while arrived := self.host_pool.arrive():
            blocks = np.array(arrived, np.int32)
            self._dispatch([("swap_in", blocks[part]) for part in in_buckets(len(blocks), self._swap_sizes)])
        lost_blocks = self.host_pool.take_lost_on_device()
        runs: list[Run] = [
            ("swap_out", _pairs(plan.swap_outs[part])) for part in in_buckets(len(plan.swap_outs), self._swap_sizes)
        ]
        if plan.swap_ins:
            runs.append(("bring", _pairs(plan.swap_ins)))
        runs += [("prefill", self._batches.prefill(chunk)) for chunk in plan.prefills]
        if plan.decodes:
            runs.append(("decode", self._batches.decode(plan.decodes)))
        message, sampled = self._dispatch(runs)
        samples: list[tuple[tuple[str, ...], jax.Array]] = []
        samples += [((chunk.request_id,), sampled[at]) for at, chunk in enumerate(plan.prefills) if chunk.sample]
        if plan.decodes:
            samples.append((tuple(decode.request_id for decode in plan.decodes), sampled[-1]))
        for _, tokens in samples:
            tokens.copy_to_host_async()
        return StepHandle(plan.step_id, tuple(samples), message, lost_blocks)

    def collect(self, handle: StepHandle) -> StepResult:
        """Waits for a step's samples."""
        sampled: dict[str, int] = {}
        for request_ids, tokens in handle.samples:
            sampled.update(zip(request_ids, np.asarray(tokens).tolist(), strict=False))  # a bucket may be longer than its batch
        if self._leader and handle.message is not None and sampled:  # every process has taken part in them
            self._leader.received(handle.message)
        self.host_pool.poll()
        return StepResult(handle.step_id, sampled, handle.lost_blocks, self.host_pool.take_lost_on_host())

    def lowered(self) -> Iterator[tuple[str, jax.stages.Lowered]]:
        """The name and the lowered form of every program that computes, at every shape that warm-up compiles; nothing runs."""
        for shape in self.shapes():
            yield f"{shape.program} {shape.size}", self._lowered(shape)

    def read_blocks(self, block_ids: Sequence[int]) -> list[np.ndarray]:
        """What the device holds in each of these blocks, behind all that was submitted: for a look, not for serving."""
        return [np.asarray(block) for block in self.programs.swap_out(self._pool, np.array(block_ids, np.int32))]

    def follow(self) -> bool:
        """Runs what process 0 submits until it ends; whether it ended well."""
        return follow(self._run)

    def shapes(self) -> list[Shape]:
        """Each computing program in each of its sizes."""
        shapes = [Shape("prefill", size, self._batches.empty_prefill(size)) for size in self._batches.chunk_sizes]
        return shapes + [Shape("decode", size, self._batches.empty_decode(size)) for size in self._batches.decode_sizes]

    def _lowered(self, shape: Shape) -> jax.stages.Lowered:
        program: Any = getattr(self.programs, shape.program)
        return program.lower(self._weights, self._pool, self._last_tokens, shape.packed)

    def _dispatch(self, runs: list[Run]) -> tuple[int | None, list[jax.Array]]:
        """Starts programs here and in the other processes; the number of the message to these, and what was sampled."""
        message = self._leader.send(runs) if self._leader else None
        sampled = [self._run(program, packed) for program, packed in runs]
        return message, [tokens for tokens in sampled if tokens is not None]

    def _run(self, program: str, packed: np.ndarray) -> jax.Array | None:
        """Starts one program, or ("bring") the copies that a later one needs; what was sampled, if anything is."""
        match program:
            case "swap_out":
                device_blocks, host_blocks = packed[:, 0].copy(), packed[:, 1].tolist()
                self.host_pool.store(host_blocks, lambda: self.programs.swap_out(self._pool, device_blocks))
            case "bring":
                self.host_pool.bring(packed[:, 0].tolist(), packed[:, 1].tolist())
            case "swap_in":
                self._pool = self.programs.swap_in(self._pool, self.host_pool.take(packed.tolist()), packed)
            case _:
                compiled = getattr(self.programs, program)
                self._pool, self._last_tokens, sampled = compiled(self._weights, self._pool, self._last_tokens, packed)
                return sampled
        return None


def _pairs(copies: Sequence[BlockCopy]) -> np.ndarray:
    """Copies as integers: a row of the block on the device and the one on the host."""
    return np.array([(copy.device_block, copy.host_block) for copy in copies], np.int32)


def attention_shape(model: LoadedModel, config: EngineConfig, layout: Layout | None) -> AttentionShape:
    """What one device attends to: its share of the heads."""
    shape, num_devices = model.config, layout.mesh.size if layout else 1
    return AttentionShape(
        num_heads=shape.num_heads // num_devices,
        num_kv_heads=shape.num_kv_heads // num_devices,
        head_dim=storage_dim(shape.head_dim),
        block_size=config.block_size,
        max_blocks=config.max_blocks_per_request,
        max_batch=config.scheduler.max_num_seqs,
        dtype=config.dtype,
        windows=tuple(dict.fromkeys(getattr(shape, "windows", (None,)))),
    )


def layout_of(model: LoadedModel) -> Layout | None:
    """The mesh that the weights are sharded over, and how; None if they are on one device."""
    mesh, specs = None, {}
    for name, weight in zip(model.parameter_names, model.weights, strict=True):
        if isinstance(weight.sharding, NamedSharding):
            mesh, specs[name] = weight.sharding.mesh, weight.sharding.spec
    return Layout(mesh, specs) if mesh else None
