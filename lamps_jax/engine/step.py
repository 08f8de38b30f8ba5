"""The jitted programs: prefill chunk, decode, swap out, swap in. The first two are pure functions of weights, packed integers,
the pool and the last tokens; the others move blocks between the pool and arrays of their own.

On a mesh of devices each runs the same program on its part of the weights and of every block's heads; the packed integers, the
last tokens and the sampling are everywhere the same (`models.sharding`).

The pool and the last tokens are donated (not to swap out, which only reads): they are updated in place, and the arrays passed in
are gone. A pool that XLA copied instead would show in the programs' memory analysis.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from lamps_jax.engine.batch import FROM_DEVICE, HEADER, Field
from lamps_jax.engine.sampling import SamplingRows, sample
from lamps_jax.kv_cache.offload import departing
from lamps_jax.kv_cache.pool import LayerBlocks, Pool, gather_blocks, scatter_blocks, write
from lamps_jax.models.attention.select import PagedAttention
from lamps_jax.models.sharding import BY_HEAD, REPLICATED, join_shards, whole_logits
from lamps_jax.models.weights import bind
from lamps_jax.sched.block_manager import NULL_BLOCK

Program = Callable[[tuple[Array, ...], Pool, Array, Any], tuple[Pool, Array, Array, Array]]
"""``(weights, pool, last_tokens, packed) -> (pool, last_tokens, sampled, logits)``, the logits that were sampled from."""


COMPILER_OPTIONS = {
    "gpu": {
        # A CUDA graph with the dependencies that there are, not a chain: small kernels, and the start and end of large ones, run
        # beside others. A twentieth of a decode step of GPT-J-6B, a sixth where the batch is one.
        "xla_gpu_command_buffer_scheduling_mode": "CONCURRENT",
        # Products of one input would be merged by writing their weights one behind the other, in every chunk of a prompt.
        "xla_gpu_dot_merger_threshold_mb": 0,
    }
}
"""What the compiler is told, by platform."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The four programs of a model, each compiled once for each shape of its integers.

    Attributes:
        swap_out: ``(pool, block_ids) -> blocks``, each an array of its own.
        swap_in: ``(pool, blocks, block_ids) -> pool``.
    """

    prefill: Program
    decode: Program
    swap_out: Callable[[Pool, Any], tuple[Array, ...]]
    swap_in: Callable[[Pool, tuple[Array, ...], Any], Pool]


@dataclass(frozen=True, slots=True)
class Layout:
    """The devices that the programs run on, and how each parameter is split over them, by name."""

    mesh: Mesh | AbstractMesh
    specs: Mapping[str, PartitionSpec]


def make_programs(
    graph: nnx.GraphDef,
    parameter_names: tuple[str, ...],
    attention: PagedAttention,
    *,
    block_size: int,
    max_blocks: int,
    eos_token_ids: tuple[int, ...],
    layout: Layout | None = None,
) -> Programs:
    """Programs of the model `graph`, whose weights come as a flat tuple in the order of `parameter_names`.

    Without a `layout` they run on one device.
    """

    def forward(
        weights: tuple[Array, ...],
        pool: Pool,
        token_ids: Int[Array, "batch length"],
        positions: Int[Array, "batch length"],
        valid: Bool[Array, "batch length"],
        table: Int[Array, "batch max_blocks"],
    ) -> tuple[Any, Float[Array, "batch length hidden"], Pool]:
        model = bind(graph, dict(zip(parameter_names, weights, strict=True)))
        if layout is not None:
            join_shards(model, layout.specs)
        block_ids = jnp.where(valid, jnp.take_along_axis(table, positions // block_size, axis=1), NULL_BLOCK).reshape(-1)
        slots = (positions % block_size).reshape(-1)

        def attend(q: Array, k: Array, v: Array, blocks: Any, window: int | None = None, /) -> tuple[Array, LayerBlocks]:
            blocks = write(blocks, k.reshape(-1, *k.shape[2:]), v.reshape(-1, *v.shape[2:]), block_ids, slots)
            attended = attention(_widened(q, blocks[0].shape[-1]), blocks, table, positions, window)
            return attended[..., : q.shape[-1]], blocks

        hidden, pool = model(token_ids, positions, pool, attend)
        return model, hidden, pool

    def next_token_logits(model: Any, hidden: Float[Array, "batch hidden"]) -> Float[Array, "batch vocab"]:
        return whole_logits(model.logits(hidden), model.config.vocab_size)

    options = COMPILER_OPTIONS.get(jax.default_backend())

    def on_mesh(program: Callable[..., Any], in_specs: tuple[Any, ...], out_specs: Any) -> Callable[..., Any]:
        if layout is None:
            return program
        # Kernels do not say over which axes their results vary.
        return jax.shard_map(program, mesh=layout.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    def jitted(program: Callable[..., Any]) -> Program:
        specs = () if layout is None else tuple(layout.specs[name] for name in parameter_names)
        program = on_mesh(program, (specs, BY_HEAD, REPLICATED, REPLICATED), (BY_HEAD, REPLICATED, REPLICATED, REPLICATED))
        return jax.jit(program, donate_argnums=(1, 2), compiler_options=options)

    def prefill(weights: tuple[Array, ...], pool: Pool, last_tokens: Array, packed: Array) -> tuple[Pool, Array, Array, Array]:
        header, tokens, table = jnp.split(packed, [HEADER, packed.shape[0] - max_blocks])
        start, length = header[Field.POSITION], header[Field.LENGTH]
        offsets = jnp.arange(tokens.shape[0])
        positions = start + jnp.minimum(offsets, length - 1)  # padding adds nothing to the attention's trip count
        model, hidden, pool = forward(weights, pool, tokens[None], positions[None], (offsets < length)[None], table[None])
        logits = next_token_logits(model, lax.dynamic_slice_in_dim(hidden[0], length - 1, 1))
        sampled = sample(logits, _sampling_rows(header[None], (start + length)[None]), eos_token_ids)
        slot = jnp.where(header[Field.SAMPLE] != 0, header[Field.SLOT], last_tokens.shape[0] - 1)
        return pool, last_tokens.at[slot].set(sampled[0]), sampled, logits

    def decode(weights: tuple[Array, ...], pool: Pool, last_tokens: Array, packed: Array) -> tuple[Pool, Array, Array, Array]:
        header, table = packed[:, :HEADER], packed[:, HEADER:]
        slots, positions = header[:, Field.SLOT], header[:, Field.POSITION]
        tokens = jnp.where(header[:, Field.TOKEN] == FROM_DEVICE, last_tokens[slots], header[:, Field.TOKEN])
        valid = slots < last_tokens.shape[0] - 1
        model, hidden, pool = forward(weights, pool, tokens[:, None], positions[:, None], valid[:, None], table)
        logits = next_token_logits(model, hidden[:, 0])
        sampled = sample(logits, _sampling_rows(header, positions + 1), eos_token_ids)
        return pool, last_tokens.at[slots].set(sampled), sampled, logits

    gather = on_mesh(gather_blocks, (BY_HEAD, REPLICATED), BY_HEAD)

    def swap_out(pool: Pool, block_ids: Array) -> tuple[Array, ...]:
        return departing(gather(pool, block_ids))

    swap_in = on_mesh(scatter_blocks, (BY_HEAD, BY_HEAD, REPLICATED), BY_HEAD)
    return Programs(
        jitted(prefill),
        jitted(decode),
        jax.jit(swap_out, compiler_options=options),
        jax.jit(swap_in, donate_argnums=0, compiler_options=options),
    )


def _widened(q: Float[Array, "*batch dim"], dim: int) -> Float[Array, "*batch wide"]:
    """Queries for keys that are stored with `dim` numbers, padded with zeros; attention will scale them by those."""
    missing = dim - q.shape[-1]
    return jnp.pad(q * (dim / q.shape[-1]) ** 0.5, (*[(0, 0)] * (q.ndim - 1), (0, missing))) if missing else q


def _sampling_rows(header: Int[Array, "batch fields"], position: Int[Array, " batch"]) -> SamplingRows:
    return SamplingRows(
        temperature=lax.bitcast_convert_type(header[:, Field.TEMPERATURE], jnp.float32),
        top_p=lax.bitcast_convert_type(header[:, Field.TOP_P], jnp.float32),
        top_k=header[:, Field.TOP_K],
        seed=lax.bitcast_convert_type(header[:, Field.SEED], jnp.uint32),
        position=position,
        ban_eos=header[:, Field.BAN_EOS] != 0,
    )
