"""Runs a small model on 1, 2, 4 and 8 devices and prints what it saw as JSON: the tests read it, in a process with one device.

To be run as a module, with ``XLA_FLAGS=--xla_force_host_platform_device_count=8`` and the name of a case; or without a name, for
what needs no engine.
"""

import json
import re
import sys
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lamps_jax.engine.build import assemble_engine
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.attention.reference import attend_within, causal_mask
from lamps_jax.models.llama import LlamaConfig
from lamps_jax.models.opt import OPTConfig
from lamps_jax.models.registry import LoadedModel, random_model
from lamps_jax.models.rope import Rope
from lamps_jax.models.sharding import REPLICATED, join_shards, parameter_shardings, tensor_parallel_mesh, whole_logits
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import bind
from lamps_jax.sched.plan import BlockCopy, StepPlan
from lamps_jax.sched.request import SamplingParams
from tests.factories import engine_config, gptj_config, tiny_tokenizer

HIDDEN, VOCAB, BATCH, CHUNK = 64, 264, 2, 16
SHAPE: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": HIDDEN, "num_layers": 2, "num_heads": 8, "intermediate_size": 128}
KV_HEADS: dict[str, Any] = {"num_heads": 16, "num_kv_heads": 8}
WIDE = gptj_config(**SHAPE, rotary_dim=4)
LLAMA = LlamaConfig(**SHAPE | KV_HEADS, head_dim=4, max_position=128, rope=Rope(4), windows=(None, 8), qk_norm=True)
OPT = OPTConfig(**SHAPE, max_position=128, embedding_size=HIDDEN)


@dataclass(frozen=True)
class Case:
    """A model, and how many devices it runs on in turn.

    Attributes:
        counted: Of the sizes, the one at which the collectives are counted.
    """

    config: Any
    sizes: tuple[int, ...]
    counted: int | None = None


CASES = {
    "gptj": Case(WIDE, (1, 4, 8), counted=4),
    "gptj_with_sizes_that_do_not_divide": Case(replace(WIDE, num_layers=1, vocab_size=257, intermediate_size=50), (1, 4)),
    "llama": Case(LLAMA, (1, 4, 8), counted=4),
    "opt": Case(OPT, (1, 8), counted=8),
}
CONFIG = engine_config(max_num_seqs=BATCH, max_chunk_tokens=CHUNK, max_model_len=64)

COLLECTIVE = re.compile(
    r"= \(?(\w+)\[([\d,]*)\].*? (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast)"
    r"(?:-start)?\("
)


def prompts() -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(1, 257, length).tolist() for length in (37, 5, 18)]


def lively_weights(config: Any, **options: Any) -> LoadedModel:
    """A random model whose matrices are large enough that every token depends on all before it, with biases that matter."""
    model = random_model(config, **options)

    def enlarged(name: str, weight: np.ndarray) -> np.ndarray:
        if name.endswith(("proj.bias", "fc_in.bias", "fc_out.bias")):
            return np.linspace(-1, 1, weight.size, dtype=weight.dtype)
        return weight if weight.dtype == np.int8 or name.endswith(("norm.weight", "bias")) else 8 * weight

    named = zip(model.parameter_names, model.weights, strict=True)
    return replace(model, weights=tuple(jax.device_put(enlarged(name, np.asarray(weight))) for name, weight in named))


def on(mesh: Mesh | None, model: LoadedModel) -> LoadedModel:
    """`model` with its weights on `mesh`."""
    if mesh is None:
        return model
    shardings = parameter_shardings(mesh, dict(zip(model.parameter_names, map(jax.typeof, model.weights), strict=True)))
    return replace(model, weights=tuple(map(jax.device_put, model.weights, shardings.values())))


def run(engine: Engine) -> list[list[int]]:
    """Tokens after each prompt, one of which is controlled.

    The longest goes in three chunks, and there are more requests than places in the batch.
    """
    tokens: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts()):

        def sink(event: Event, index: int = index) -> None:
            if event.kind == "finished":
                tokens[index] = event.output.token_ids

        chosen: dict[str, Any] = {"repetition_penalty": 1.5, "num_logprobs": 2} if index == 1 else {}
        engine.add(prompt, SamplingParams(max_tokens=16, ignore_eos=True, **chosen), on_event=sink)
    while engine.num_unfinished:
        engine.step()
    return [tokens[index] for index in sorted(tokens)]


def observe(case: Case, size: int, model: LoadedModel, compilations: list[str]) -> dict[str, Any]:
    model = on(tensor_parallel_mesh(size, case.config), model)
    engine = assemble_engine(model, Tokenizer(tiny_tokenizer()), CONFIG, ())
    executor: Any = engine._executor
    before, layout = len(compilations), pool_layout(executor)
    tokens = run(engine)
    seen = {
        "tokens": tokens,
        "compilations": len(compilations) - before,
        "pool_stays": pool_layout(executor) == layout,
        "pool_bytes": executor.kv_bytes_per_device,
        "pool_split": executor._pool[0][0].sharding.shard_shape(executor._pool[0][0].shape)[1],
        "weight_bytes": executor.weight_bytes_per_device,
    }
    return seen | ({"programs": programs(executor, model), "swap": swap(model)} if size == case.counted else {})


def swap(model: LoadedModel) -> dict[str, Any]:
    """What becomes of blocks that go to the host and come back in another order."""
    executor = JaxExecutor(model, replace(CONFIG, host_kv_bytes=10**6), num_blocks=33)
    rng, count = np.random.default_rng(5), 4
    arrays, structure = jax.tree.flatten(executor._pool)
    noise = [rng.integers(0, 2**32, array.shape, np.uint32).view(np.float32) for array in arrays]
    executor._pool = jax.tree.unflatten(structure, [
        jax.jit(jnp.copy)(jax.device_put(bits, array.sharding)) for bits, array in zip(noise, arrays, strict=True)
    ])  # fmt: skip
    layout = pool_layout(executor)
    executor.submit(StepPlan(0, swap_outs=tuple(BlockCopy(1 + at, at) for at in range(count))))
    executor.submit(StepPlan(1, swap_ins=tuple(BlockCopy(20 - at, at) for at in range(count))))
    executor.submit(StepPlan(2))
    for bits in noise:
        bits[20 : 20 - count : -1] = bits[1 : 1 + count]
    pool, ids = executor._pool, np.arange(count, dtype=np.int32)
    kept: Any = executor.host_pool._blocks[0]
    out, back = (cast(Any, program) for program in (executor.programs.swap_out, executor.programs.swap_in))
    gathering = out.lower(pool, ids).compile()
    scattering = back.lower(pool, jax.device_put(out(pool, ids), pool[0][0].sharding), ids).compile()
    return {
        "bits_are_right": all(
            np.asarray(array).tobytes() == bits.tobytes() for array, bits in zip(jax.tree.leaves(pool), noise, strict=True)
        ),
        "pool_stays": pool_layout(executor) == layout,
        "kept_in": kept.sharding.memory_kind,
        "kept_heads": kept.sharding.shard_shape(kept.shape)[1],
        "collectives": [match[3] for program in (gathering, scattering) for match in COLLECTIVE.finditer(program.as_text())],
    }


def pool_layout(executor: JaxExecutor) -> list[tuple[str, int]]:
    """Where each part of the pool is in memory."""
    arrays = [array for layer in executor._pool for array in layer]
    return [(str(s.device), s.data.unsafe_buffer_pointer()) for array in arrays for s in array.addressable_shards]


def programs(executor: JaxExecutor, model: LoadedModel) -> dict[str, Any]:
    """Of each program the collectives with their bytes, and the bytes of its donated memory."""
    batches = executor._batches
    seen = {}
    for name, packed in (("prefill", batches.empty_prefill(CHUNK)), ("decode", batches.empty_decode(BATCH))):
        program: Any = getattr(executor.programs, name)
        compiled = program.lower(model.weights, executor._pool, executor._last_tokens, packed).compile()
        seen[name] = {
            "collectives": [
                [match[3], jnp.dtype(match[1].replace("f", "float").replace("s", "int")).itemsize * product(match[2])]
                for match in COLLECTIVE.finditer(compiled.as_text())
            ],
            "aliased_bytes": compiled.memory_analysis().alias_size_in_bytes,
        }
    return seen


def product(dimensions: str) -> int:
    return int(np.prod([int(size) for size in dimensions.split(",") if size]))


def logits(model: LoadedModel, mesh: Mesh | None) -> np.ndarray:
    """Scores after every token of a text, by dense attention."""
    text = jnp.asarray([prompts()[0]])
    specs = {} if mesh is None else dict(zip(model.parameter_names, (spec(weight) for weight in model.weights), strict=True))

    def forward(weights: tuple[jax.Array, ...]) -> jax.Array:
        bound = bind(model.graph, dict(zip(model.parameter_names, weights, strict=True)))
        join_shards(bound, specs)
        mask = attend_within(causal_mask(1, text.shape[1]))
        hidden, _ = bound(text, jnp.arange(text.shape[1])[None], [None] * model.config.num_layers, mask)
        return whole_logits(bound.logits(hidden[0]), model.config.vocab_size)

    if mesh is not None:
        forward = jax.shard_map(forward, mesh=mesh, in_specs=(tuple(specs.values()),), out_specs=REPLICATED, check_vma=False)
    return np.asarray(jax.jit(forward)(model.weights))


def spec(weight: jax.Array) -> PartitionSpec:
    assert isinstance(weight.sharding, NamedSharding)
    return weight.sharding.spec


def logits_error(config: Any, **options: Any) -> float:
    """The largest difference of a logit between 1 and 4 devices, in deviations of the logits."""
    mesh, model = tensor_parallel_mesh(4, config), lively_weights(config, **options)
    whole, parts = (logits(on(where, model), where) for where in (None, mesh))
    return float(np.abs(whole - parts).max() / whole.std())


def refusals() -> list[str]:
    """What is said to sizes that cannot be."""
    said = []
    for size, config in ((16, gptj_config(num_heads=16, hidden_size=64, rotary_dim=4)), (3, WIDE), (5, LLAMA)):
        try:
            tensor_parallel_mesh(size, config)
        except ValueError as error:
            said.append(str(error))
    return said


def exported(platform: str) -> dict[str, list[int]]:
    """How many all-reduces and all-gathers each program has as it is handed to the compiler of `platform`."""
    model = on(tensor_parallel_mesh(8, WIDE), random_model(WIDE))
    executor = JaxExecutor(model, replace(CONFIG, attention="xla"), num_blocks=33)  # the CPU's own kernel is for no other
    batches, counts = executor._batches, {}
    for name, packed in (("prefill", batches.empty_prefill(CHUNK)), ("decode", batches.empty_decode(BATCH))):
        program: Any = getattr(executor.programs, name)
        text = export.export(program, platforms=[platform])(
            model.weights, executor._pool, executor._last_tokens, packed
        ).mlir_module()
        counts[name] = [text.count(what) for what in ("stablehlo.all_reduce", "stablehlo.all_gather", "call @one_block(")]
    return counts


def observe_case(case: Case) -> dict[str, Any]:
    compilations: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration_secs, **_: compilations.append(event) if "backend_compile" in event else None
    )
    model = lively_weights(case.config)
    return {str(size): observe(case, size, model, compilations) for size in case.sizes}


def observe_numbers() -> dict[str, Any]:
    narrow = replace(WIDE, num_layers=1)
    errors = {"bfloat16": logits_error(narrow, dtype="bfloat16"), "int8": logits_error(narrow, quantize="int8")}
    programs = {platform: exported(platform) for platform in ("cuda", "tpu")}
    return {"logits_errors": errors, "refusals": refusals(), "exported": programs}


if __name__ == "__main__":
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    json.dump(observe_case(CASES[sys.argv[1]]) if sys.argv[1:] else observe_numbers(), sys.stdout)
