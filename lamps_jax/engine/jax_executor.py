"""Runs plans on the device. The one owner of the KV pool, which every program donates and this class binds again."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from lamps_jax.config import EngineConfig
from lamps_jax.engine.batch import BatchBuilder
from lamps_jax.engine.choosing import Column, ControlBuilder, read_logprobs
from lamps_jax.engine.control import Control
from lamps_jax.engine.distributed import Leader, Run, follow
from lamps_jax.engine.step import Layout, Programs, make_programs
from lamps_jax.kv_cache.offload import HostPool, Transfer, bucket_sizes, in_buckets
from lamps_jax.kv_cache.pool import allocate, block_bytes, storage_dim
from lamps_jax.models.attention.select import select_attention
from lamps_jax.models.attention.self_test import AttentionShape
from lamps_jax.models.registry import LoadedModel
from lamps_jax.models.sharding import BY_HEAD, REPLICATED, bytes_per_device
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, SampledLogprob, StepPlan, StepResult


class Samples(NamedTuple):
    """What one program of a step samples.

    Attributes:
        rows: The chunk, or the decodes, in the order of its batch.
        run: Its place among the step's programs that compute.
        reported: Log-probabilities, as `ControlBuilder.choose` has them; None where nobody asked.
    """

    rows: tuple[PrefillChunk, ...] | tuple[Decode, ...]
    tokens: jax.Array
    run: int
    reported: jax.Array | None = None


@dataclass(frozen=True, slots=True)
class StepHandle:
    """A submitted step whose samples are still on their way from the device.

    Attributes:
        message: Number of the last message that told the other processes of it; None if there are no others.
        lost_blocks: As in `StepResult`.
        num_likeliest: By request, how many of the likeliest tokens are to be reported; only those that asked for it.
    """

    step_id: int
    samples: tuple[Samples, ...]
    message: int | None = None
    lost_blocks: frozenset[int] = frozenset()
    num_likeliest: Mapping[str, int] = field(default_factory=dict)


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
        vocab_size, eos_token_ids = shape.vocab_size, model.eos_token_ids
        self._controls = ControlBuilder(
            vocab_size=vocab_size,
            max_model_len=config.scheduler.max_model_len,
            padding_slot=self._batches.padding_slot,
        )
        self._choose = jax.jit(partial(self._controls.choose, eos_token_ids=eos_token_ids), donate_argnums=2)
        self._computed: list[tuple[jax.Array, jax.Array]] = []  # samples and logits of the step's programs, for `choose`
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
            size = 1 if shape.program == "prefill" else shape.size
            self._run_all([(shape.program, shape.packed)])
            jax.block_until_ready(self._run_all([("choose", self._controls.empty(size))]))
        self._computed.clear()
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
        samples = [Samples((chunk,), sampled[at], at) for at, chunk in enumerate(plan.prefills) if chunk.sample]
        if plan.decodes:
            samples.append(Samples(plan.decodes, sampled[-1], len(sampled) - 1))
        for each in samples:
            each.tokens.copy_to_host_async()
        return StepHandle(plan.step_id, tuple(samples), message, lost_blocks)

    def choose(self, handle: StepHandle, controls: Sequence[Control]) -> StepHandle:
        """Has tokens of the step submitted last chosen as `controls` say; nothing else may have been submitted since."""
        by_id = {control.request_id: control for control in controls}
        runs: list[Run] = []
        chosen: list[int] = []
        for at, samples in enumerate(handle.samples):
            if by_id.keys().isdisjoint(row.request_id for row in samples.rows):
                continue
            packed = self._controls.empty(samples.tokens.shape[0], run=samples.run)
            for row, planned in zip(packed, samples.rows, strict=False):
                if control := by_id.get(planned.request_id):
                    end = planned.position + 1 if isinstance(planned, Decode) else planned.start + len(planned.token_ids)
                    self._controls.fill(row, control, slot=planned.slot, position=end, ban_eos=planned.ban_eos)
            runs.append(("choose", packed))
            chosen.append(at)
        message, results = self._dispatch(runs)
        renewed = list(handle.samples)
        for at, (tokens, reported) in zip(chosen, results, strict=True):
            tokens.copy_to_host_async()
            renewed[at] = renewed[at]._replace(tokens=tokens, reported=reported)
        wanted = {name: count for name, control in by_id.items() if (count := control.sampling.num_logprobs) is not None}
        return replace(handle, samples=tuple(renewed), message=message, num_likeliest=wanted)

    def collect(self, handle: StepHandle) -> StepResult:
        """Waits for a step's samples."""
        sampled: dict[str, int] = {}
        logprobs: dict[str, SampledLogprob] = {}
        for rows, tokens, _, reported in handle.samples:
            sampled.update(zip([row.request_id for row in rows], np.asarray(tokens).tolist(), strict=False))  # of a longer bucket
            if reported is not None and handle.num_likeliest:
                for row, values in zip(rows, np.asarray(reported), strict=False):
                    if (count := handle.num_likeliest.get(row.request_id)) is not None:
                        logprobs[row.request_id] = read_logprobs(values, count)
        if self._leader and handle.message is not None and sampled:  # every process has taken part in them
            self._leader.received(handle.message)
        self.host_pool.poll()
        return StepResult(handle.step_id, sampled, handle.lost_blocks, self.host_pool.take_lost_on_host(), logprobs)

    def lowered(self) -> Iterator[tuple[str, jax.stages.Lowered]]:
        """The name and the lowered form of every program that computes, at every shape that warm-up compiles; nothing runs."""
        for shape in self.shapes():
            yield f"{shape.program} {shape.size}", self._lowered(shape)

    def read_blocks(self, block_ids: Sequence[int]) -> list[np.ndarray]:
        """What the device holds in each of these blocks, behind all that was submitted: for a look, not for serving."""
        return [np.asarray(block) for block in self.programs.swap_out(self._pool, np.array(block_ids, np.int32))]

    def follow(self) -> bool:
        """Runs what process 0 submits until it ends; whether it ended well."""
        return follow(self._run_all)

    def shapes(self) -> list[Shape]:
        """Each computing program in each of its sizes."""
        shapes = [Shape("prefill", size, self._batches.empty_prefill(size)) for size in self._batches.chunk_sizes]
        return shapes + [Shape("decode", size, self._batches.empty_decode(size)) for size in self._batches.decode_sizes]

    def _lowered(self, shape: Shape) -> jax.stages.Lowered:
        program: Any = getattr(self.programs, shape.program)
        return program.lower(self._weights, self._pool, self._last_tokens, shape.packed)

    def _dispatch(self, runs: list[Run]) -> tuple[int | None, list[Any]]:
        """Starts programs here and in the other processes; the number of the message to these, and what was sampled."""
        message = self._leader.send(runs) if self._leader else None
        return message, self._run_all(runs)

    def _run_all(self, runs: list[Run]) -> list[Any]:
        """Starts programs one after the other; what those that sample return."""
        if any(program in ("prefill", "decode") for program, _ in runs):
            self._computed = []  # of the step before
        results = [self._run(program, packed) for program, packed in runs]
        return [result for result in results if result is not None]

    def _run(self, program: str, packed: np.ndarray) -> Any:
        """Starts one program, or ("bring") the copies that a later one needs; what was sampled, if anything is."""
        match program:
            case "swap_out":
                device_blocks, host_blocks = packed[:, 0].copy(), packed[:, 1].tolist()
                self.host_pool.store(host_blocks, lambda: self.programs.swap_out(self._pool, device_blocks))
            case "bring":
                self.host_pool.bring(packed[:, 0].tolist(), packed[:, 1].tolist())
            case "swap_in":
                self._pool = self.programs.swap_in(self._pool, self.host_pool.take(packed.tolist()), packed)
            case "choose":
                sampled, logits = self._computed[packed[0, Column.RUN]]
                self._last_tokens, sampled, reported = self._choose(logits, sampled, self._last_tokens, packed)
                return sampled, reported
            case _:
                compiled = getattr(self.programs, program)
                self._pool, self._last_tokens, sampled, logits = compiled(self._weights, self._pool, self._last_tokens, packed)
                self._computed.append((sampled, logits))
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
