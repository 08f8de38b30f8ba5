"""Compiles one program for one target and says what came of it."""

import math
import re
import time
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import jax

from benchmarks.aot import hlo
from benchmarks.aot.cases import ARGUMENTS, Abstract, Model, abstract_engine
from benchmarks.aot.chips import Chip
from lamps_jax.models.attention.backend import Unsupported
from lamps_jax.models.attention.select import FALL_BACK, FASTEST

MAX_TEMPORARY_SHARE = 0.05
"""Most that a program may need beside its arguments, as a share of the pool; a prefill, which has many tokens, may need more."""

READS_ONLY = ("swap_out",)
"""Programs that leave the pool as it is; all others update it in place."""

COMPILED = ("ok", "breaks a rule")
"""Statuses of runs that have figures."""

FAILURES = ("breaks a rule", "does not compile")
"""Statuses of runs in which something is wrong with our code."""

MESSAGE_CHARACTERS = 300

TOO_LARGE = re.compile(r"RESOURCE_EXHAUSTED.*\bhbm\b", re.IGNORECASE | re.DOTALL)
"""In the message of a TPU's compiler that finds a program too large for the device's memory, not a kernel too large for VMEM."""


def attentions(chip: Chip) -> list[str]:
    """Attention backends to try on a chip: its platform's own, and plain XLA where that does not serve."""
    return [FASTEST[chip.backend], FALL_BACK]


def measure(chip: Chip, model: Model, tensor_parallel: int, program: str, attention: str) -> dict[str, Any]:
    """The run of one program.

    Its ``status`` is ``ok``; ``refused`` if the engine does not split the model so; ``unsupported`` if the attention backend does
    not serve the shape; ``too large`` if the compiler finds that the program does not fit the device's memory; or one of
    `FAILURES`. Where it is not ``ok``, ``reason`` says why.
    """
    run: dict[str, Any] = {
        "target": chip.name,
        "model": model.name,
        "head_size": model.config.head_dim,
        "tensor_parallel": tensor_parallel,
        "program": program,
        "attention": attention,
    }
    try:
        engine = abstract_engine(model, chip.devices(tensor_parallel), attention)
    except ValueError as error:
        return run | {"status": "refused", "reason": str(error)}
    try:
        with as_on(chip):
            run |= _figures(chip, engine, program)
    except Unsupported as error:
        return run | {"status": "unsupported", "reason": str(error)}
    except Exception as error:  # whatever a compiler or its bindings raise is what is to be reported
        return run | {"status": refusal(str(error)), "reason": _on_one_line(str(error))}
    broken = broken_rules(run, num_layers=model.config.num_layers)
    return run | ({"status": "breaks a rule", "reason": broken} if broken else {"status": "ok"})


def as_on(chip: Chip) -> AbstractContextManager[Any]:
    """Has our code, which asks `jax.default_backend` what it computes on, write programs as it does where the chip is."""
    return mock.patch.object(jax, "default_backend", return_value=chip.backend)


def _figures(chip: Chip, engine: Abstract, program: str) -> dict[str, Any]:
    began = time.perf_counter(), time.process_time()
    lowered = getattr(engine.programs, program).lower(*ARGUMENTS[program](engine))
    lowered_at = time.process_time()
    compiled = lowered.compile(chip.compiler_options)
    memory, text = compiled.memory_analysis(), compiled.as_text()
    local_shape = engine.pool_array.sharding.shard_shape(engine.pool_array.shape)
    pool_bytes = len(engine.pool_arrays) * math.prod(local_shape) * engine.pool_array.dtype.itemsize
    return {
        "lower_cpu_s": lowered_at - began[1],
        "compile_cpu_s": time.process_time() - lowered_at,
        "wall_s": time.perf_counter() - began[0],
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "pool_bytes": pool_bytes,
        "peak_bytes": (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes
            + memory.generated_code_size_in_bytes
        ),
        "pool_copies": hlo.copies_of(text, "bf16", local_shape),
        "kernel_calls": hlo.kernel_calls(text),
        "collectives": hlo.collectives(text),
    }


def refusal(message: str) -> str:
    """The status of a program that a compiler refuses with `message`."""
    return "too large" if TOO_LARGE.search(message) else "does not compile"


def broken_rules(run: dict[str, Any], *, num_layers: int) -> str:
    """What a compiled program does that none may do; empty if there is nothing."""
    broken, program = [], run["program"]
    if program not in READS_ONLY and run["aliased_bytes"] < run["pool_bytes"]:
        broken.append(f"only {run['aliased_bytes']} of the pool's {run['pool_bytes']} bytes are updated in place")
    if run["pool_copies"]:
        broken.append(f"an array of the pool is copied whole {run['pool_copies']} times")
    if program != "prefill" and run["temporary_bytes"] > MAX_TEMPORARY_SHARE * run["pool_bytes"]:
        broken.append(f"temporaries are {run['temporary_bytes'] / run['pool_bytes']:.1%} of the pool")
    if program == "decode" and run["attention"] != FALL_BACK and run["kernel_calls"] < num_layers:
        broken.append(f"{run['attention']} is called {run['kernel_calls']} times in {num_layers} layers")
    return "; ".join(broken)


def _on_one_line(message: str) -> str:
    """The beginning of a compiler's message, which can be long, fit for a cell of a table."""
    return " ".join(message.replace("|", "/").split())[:MESSAGE_CHARACTERS]
