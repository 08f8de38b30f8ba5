"""How long a script would take if it had the machine to itself: what slowdowns are counted from."""

from collections.abc import Callable
from dataclasses import replace

from lamps_jax.sched.memory_over_time import Pace, Progress, remaining_footprint
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.predictors import as_predicted
from lamps_jax.sim.workload import Script, Turn

Isolated = Callable[[Script], float]
"""Seconds from a script's arrival to its end, alone on a machine."""


def isolated_on(machine: Hardware, chunk_tokens: int) -> Isolated:
    """Latencies by the cost model of `machine`: a script runs alone, computes nothing twice and keeps its memory in every call.

    Its calls and what its client waits for are part of it. A prompt is computed in chunks of at most `chunk_tokens`, the last of
    which yields the first token, so that a segment of n tokens takes n - 1 decodes more.
    """
    pace = Pace(machine.cost_model, chunk_tokens=chunk_tokens)

    def isolated_s(script: Script) -> float:
        return sum(turn.wait_s + _turn_s(pace, turn) for turn in script.turns())

    return isolated_s


def _turn_s(pace: Pace, turn: Turn) -> float:
    predicted, known = [], turn.num_prompt_tokens - turn.num_kept_tokens
    for segment in map(as_predicted, turn.segments):
        # Where nothing is new the last token is computed anew, which is one of the decodes.
        decodes = segment.output_tokens - (known > 0)
        predicted.append(replace(segment, output_tokens=decodes, returned_tokens=segment.returned_tokens + 1))
        known = segment.returned_tokens
    progress = Progress(turn.num_prompt_tokens, computed_tokens=turn.num_kept_tokens)
    return remaining_footprint(pace, progress, predicted).duration_s
