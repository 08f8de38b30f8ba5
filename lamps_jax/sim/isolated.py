"""How long a script would take if it had the machine to itself: what slowdowns are counted from."""

from dataclasses import replace

from lamps_jax.sched.memory_over_time import Pace, Progress, remaining_footprint
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.predictors import as_predicted
from lamps_jax.sim.workload import Script, Turn


def isolated_s(script: Script, hardware: Hardware) -> float:
    """Seconds from a script's arrival to its end, by the machine's cost model, if nothing else runs and nothing is given up.

    Its calls and what its client waits for are part of it. A prompt is computed in chunks, the last of which yields the first
    token, so that a segment of n tokens takes n - 1 decodes more.
    """
    pace = Pace(hardware.cost_model, chunk_tokens=hardware.token_budget)
    return sum(turn.wait_s + _turn_s(pace, turn) for turn in script.turns())


def _turn_s(pace: Pace, turn: Turn) -> float:
    predicted, news = [], turn.num_prompt_tokens - turn.num_kept_tokens
    for segment in map(as_predicted, turn.segments):
        # Where a call returns nothing, the last token waits for its turn, and yields the next one in a decode of its own.
        predicted.append(replace(segment, output_tokens=segment.output_tokens - (news > 0)))
        news = segment.returned_tokens
    progress = Progress(turn.num_prompt_tokens, computed_tokens=turn.num_kept_tokens)
    return remaining_footprint(pace, progress, predicted).duration_s
