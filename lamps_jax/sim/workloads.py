"""Workloads by name or by file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamps_jax.sim import generators
from lamps_jax.sim.generators import GeneratorOptions
from lamps_jax.sim.profiles import GPTJ_CONTEXT_TOKENS
from lamps_jax.sim.reshape import Shape
from lamps_jax.sim.traces.infercept import CountTokens
from lamps_jax.sim.traces.read import read_trace
from lamps_jax.sim.workload import Workload

DEFAULT_NUM_SCRIPTS = 2000


@dataclass(frozen=True, slots=True)
class GeneratedWorkload:
    """A workload that needs no file.

    Attributes:
        about: One line for a list.
        options: What it is made with unless other options are asked for.
    """

    about: str
    make: generators.Make
    options: GeneratorOptions


_AS_PUBLISHED = GeneratorOptions(max_context_tokens=GPTJ_CONTEXT_TOKENS)

WORKLOADS: Mapping[str, GeneratedWorkload] = {
    "single-api": GeneratedWorkload(
        "math, questions, ALFWorld, chats, pictures, voices: one call each", generators.make_single_api, _AS_PUBLISHED
    ),
    "multi-api": GeneratedWorkload("the same with all their calls", generators.make_multi_api, _AS_PUBLISHED),
    "toolbench-like": GeneratedWorkload(
        "short segments, calls of a heavy-tailed duration", generators.make_toolbench_like, _AS_PUBLISHED
    ),
    "agent-like": GeneratedWorkload(
        "coding agents' sessions, whose client runs the tools", generators.make_agent_like, GeneratorOptions()
    ),
    "mixed": GeneratedWorkload(
        "multi-api, the calls of every other request disabled",
        generators.make_multi_api,
        GeneratorOptions(non_api_share=0.5, max_context_tokens=GPTJ_CONTEXT_TOKENS),
    ),
}


def load_workload(
    name_or_path: str | Path,
    *,
    num_scripts: int = DEFAULT_NUM_SCRIPTS,
    seed: int = 0,
    options: GeneratorOptions | None = None,
    shape: Shape | None = None,
    count_tokens: CountTokens | None = None,
) -> Workload:
    """The workload of that name, or else the one in that file.

    Args:
        name_or_path: A name of `WORKLOADS`, or a trace in one of the formats of `traces.read`.
        num_scripts: So many are generated; a trace has as many as it has.
        seed: Of the generator.
        options: Of the generator; None takes the workload's own.
        shape: What becomes of the scripts afterwards; None leaves them.
        count_tokens: See `traces.read.read_trace`.

    Raises:
        ValueError: If there is neither a workload nor a file of that name, or the file is no trace (`TraceError`).
        OSError: If the file cannot be read.
    """
    known = WORKLOADS.get(str(name_or_path))
    if known is not None:
        name = str(name_or_path)
        workload = generators.generate(name, known.make, num_scripts, seed=seed, options=options or known.options)
    elif Path(name_or_path).is_file():
        workload = read_trace(name_or_path, count_tokens=count_tokens)
    else:
        raise ValueError(f"no workload and no file is called {str(name_or_path)!r}; use one of {', '.join(WORKLOADS)}, or a file")
    return workload if shape is None else shape.apply(workload)
