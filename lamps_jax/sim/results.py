"""From a simulated run to what the results document says of it."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lamps_jax.metrics import Objectives
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.isolated import isolated_s
from lamps_jax.sim.observer import ScriptOutcome, spread
from lamps_jax.sim.player import Player
from lamps_jax.sim.spec import described

MAX_STEPS_OF_MEAN = 600
"""Points of the running mean."""


def results(player: Player, *, wall_s: float) -> dict[str, Any]:
    """One run of the results document."""
    spec = player.spec
    end_s = player.clock.now_s if spec.drain else spec.window_s  # the last step may have passed the window's end
    scheduler, executor, blocks = player.scheduler, player.executor, player.scheduler.blocks
    run = described(spec) | {
        **of_outcomes(player.outcomes, player.gaps_s, end_s, spec.objectives),
        "window_throughput_rps": sum(outcome.finished_by(spec.window_s) for outcome in player.outcomes) / spec.window_s,
        **slowdowns(player.outcomes, spec.hardware, end_s),
        "waste_token_s": asdict(player.memory.waste),
        "pool_tokens": len(blocks.device.ids) * blocks.block_size,
        "preemptions": scheduler.num_preemptions,
        "evicted_blocks": blocks.device.num_evictions,
        "recomputed_tokens": scheduler.num_recomputed_tokens,
        "swapped_tokens": executor.totals.num_swapped_blocks * blocks.block_size,
        "found_tokens": scheduler.memory.num_found_tokens,
        "promoted": scheduler.num_promoted,
        "num_steps": executor.totals.num_steps,
        "simulated_s": end_s,
        "step_s": spread(executor.step_s),
        "schedule_s": spread(scheduler.schedule_s),
        "wall_s": wall_s,
    }
    return run | _recorded(player, [outcome for outcome in player.outcomes if outcome.finished_by(end_s)])


def of_outcomes(outcomes: Sequence[ScriptOutcome], gaps_s: list[float], end_s: float, objectives: Objectives) -> dict[str, Any]:
    """What clients saw: the part of a run that a server's users can tell as well.

    Args:
        outcomes: Of every arrival.
        gaps_s: Each gap between two tokens of a segment.
        end_s: Who has not finished by then has not finished.
    """
    served = [outcome for outcome in outcomes if not outcome.refused]
    finished = [outcome for outcome in served if outcome.finished_by(end_s)]
    return {
        "arrived": len(outcomes),
        "finished": len(finished),
        "unfinished": len(served) - len(finished),
        "refused": len(outcomes) - len(served),
        **_latencies(finished),
        "itl_s": spread(gaps_s),
        "all_arrivals": _censored(served, end_s),
        "by_type": _by_type(outcomes, end_s),
        "throughput_rps": len(finished) / end_s,
        **_goodput(finished, objectives, end_s),
        "tokens_per_s": sum(outcome.num_tokens for outcome in served) / end_s,
    }


def slowdowns(outcomes: Sequence[ScriptOutcome], hardware: Hardware, end_s: float) -> dict[str, Any]:
    """How many times longer requests took than they would have alone: of all, by type, and by decile of that time alone.

    Of those that have not finished nothing is said but how many there are.
    """
    served = [(isolated_s(outcome.arrival.script, hardware), outcome) for outcome in outcomes if not outcome.refused]
    ordered = [outcome for _, outcome in sorted(served, key=lambda pair: pair[0])]
    alone = {id(outcome): seconds for seconds, outcome in served}
    types = sorted({outcome.arrival.script.request_type for outcome in ordered})
    by_type = {name: [outcome for outcome in ordered if outcome.arrival.script.request_type == name] for name in types}
    bounds = [round(tenth * len(ordered) / 10) for tenth in range(11)]
    deciles = [ordered[begin:end] for begin, end in itertools.pairwise(bounds)]

    def told(group: Sequence[ScriptOutcome]) -> dict[str, Any]:
        ratios = [
            (o.finished_s - o.arrival.time_s) / alone[id(o)] for o in group if o.finished_s is not None and o.finished_by(end_s)
        ]
        lengths = [alone[id(o)] for o in group]
        return {"arrived": len(group), "finished": len(ratios), "isolated_s": spread(lengths), "slowdown": spread(ratios)}

    return {
        "slowdown": told(ordered)["slowdown"],
        "slowdown_by_type": {name: told(group) for name, group in by_type.items()},
        "slowdown_by_decile": [told(group) for group in deciles],
    }


def _latencies(finished: Sequence[ScriptOutcome]) -> dict[str, Any]:
    latencies = [outcome.latencies() for outcome in finished]
    return {
        "e2e_s": spread([each.e2e_s for each in latencies]),
        "service_s": spread([each.service_s for each in latencies]),
        "ttft_s": spread([each.ttft_s for each in latencies if each.ttft_s is not None]),
        "tpot_s": spread([each.tpot_s for each in latencies if each.tpot_s is not None]),
    }


def _goodput(finished: Sequence[ScriptOutcome], objectives: Objectives, end_s: float) -> dict[str, float]:
    if not objectives:
        return {}
    return {"goodput_rps": sum(objectives.met_by(outcome.latencies()) for outcome in finished) / end_s}


def _censored(outcomes: Sequence[ScriptOutcome], end_s: float) -> dict[str, Any]:
    """Of every arrival, those that have not got so far by the end counted up to there: lower bounds."""
    e2e = [min(end_s, o.finished_s or end_s) - o.arrival.time_s for o in outcomes]
    ttft = [min(end_s, o.first_token_s or end_s) - o.arrival.time_s for o in outcomes]
    return {"e2e_s": spread(e2e), "ttft_s": spread(ttft)}


def _by_type(outcomes: Sequence[ScriptOutcome], end_s: float) -> dict[str, Any]:
    types: dict[str, list[ScriptOutcome]] = {}
    for outcome in outcomes:
        types.setdefault(outcome.arrival.script.request_type, []).append(outcome)
    told = {}
    for name in sorted(types):
        finished = [outcome for outcome in types[name] if outcome.finished_by(end_s)]
        latencies = _latencies(finished)
        told[name] = {"arrived": len(types[name]), "finished": len(finished)} | {k: latencies[k] for k in ("e2e_s", "ttft_s")}
    return told


def _recorded(player: Player, finished: Sequence[ScriptOutcome]) -> dict[str, Any]:
    record, told = player.spec.record, {}
    if record.latencies:
        told["latencies"] = latencies_of(finished)
    if record.occupancy:
        told["occupancy"] = player.memory.samples
    if record.running_mean:
        told["running_mean_e2e"] = _running_mean(finished)
    if record.timeline:
        told["timeline"] = [
            {
                "request": index,
                "type": player.outcomes[index].arrival.script.request_type,
                "arrival_s": player.outcomes[index].arrival.time_s,
                "spans": spans,
            }
            for index, spans in sorted(player.timeline.spans.items())
        ]
    return told


def latencies_of(finished: Sequence[ScriptOutcome]) -> dict[str, list[float]]:
    """Latencies of each request that finished."""
    return {
        "e2e_s": [o.finished_s - o.arrival.time_s for o in finished if o.finished_s is not None],
        "ttft_s": [o.first_token_s - o.arrival.time_s for o in finished if o.first_token_s is not None],
    }


def _running_mean(finished: Sequence[ScriptOutcome]) -> dict[str, list[float]]:
    ended = sorted((o.finished_s, o.finished_s - o.arrival.time_s) for o in finished if o.finished_s is not None)
    times, means, total = [], [], 0.0
    every = max(1, len(ended) // MAX_STEPS_OF_MEAN)
    for count, (time_s, e2e_s) in enumerate(ended, 1):
        total += e2e_s
        if count % every == 0:
            times.append(time_s)
            means.append(total / count)
    return {"time_s": times, "mean_s": means}
