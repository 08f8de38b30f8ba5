"""What the engine is doing at one moment, in figures: whose the KV blocks are, who waits in which order, and what is expected.

There is no text of any request in it.
"""

import heapq
from collections.abc import Iterable
from typing import Any

from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import RequestOutput
from lamps_jax.sched import rank
from lamps_jax.sched.forecast import PROMOTED, RESUMES
from lamps_jax.sched.request import Request, RequestState
from lamps_jax.sched.tier import Tier

MAX_REQUESTS = 200
"""Most requests of a snapshot; of more, those that are served first."""

RANK_MEANINGS: dict[rank.RankRule, str] = {
    rank.by_arrival: "order of arrival",
    rank.by_queueing: "order of queueing",
    rank.by_program_arrival: "order of arrival of the session",
    rank.by_memory_over_time: "memory over time, token·s",
    rank.by_output: "tokens to come",
    rank.by_duration: "time to come, s",
    rank.by_computation: "computing to come, s",
    rank.by_service: "level of service",
    rank.by_program_service: "level of service of the session",
}
"""What the number is by which a policy ranks; of one that is not here it is a score."""

_STATES = {RequestState.RUNNING: "running", RequestState.WAITING: "waiting", RequestState.IN_API_CALL: "in_call"}
_STAGES: dict[float | None, str] = {RESUMES: "resumes", PROMOTED: "starved"}


def snapshot(engine: Engine) -> dict[str, Any]:
    """The state of `engine` in values that JSON knows; to be asked for on the engine's thread.

    It takes time in proportion to the blocks that are held and the requests that have not ended, and grows no further than
    `MAX_REQUESTS` of them.
    """
    scheduler, now = engine.scheduler, engine.clock()
    requests = scheduler.requests()
    outputs = {output.request_id: output for output in engine.outputs()}
    shown = heapq.nsmallest(MAX_REQUESTS, requests, key=_by_service)
    return {
        "policy": scheduler.config.policy,
        "policy_summary": scheduler.system.summary,
        "rank_meaning": RANK_MEANINGS.get(scheduler.system.rank, "score"),
        "block_size": scheduler.blocks.block_size,
        "max_num_seqs": scheduler.config.max_num_seqs,
        "device": _blocks_by_state(scheduler.blocks.device, ((each, each.block_ids) for each in requests)),
        "host": _blocks_by_state(scheduler.blocks.host, ((each, each.host_block_ids) for each in requests)),
        "running": scheduler.num_running,
        "waiting": scheduler.num_waiting,
        "in_call": scheduler.num_in_api_call,
        "preemptions": scheduler.num_preemptions,
        "requests": [_shown(request, outputs.get(request.request_id), now) for request in shown],
        "num_more": len(requests) - len(shown),
    }


def _by_service(request: Request) -> tuple[float, ...]:
    """Who runs, then who waits, then who is in a call; among them the order of service."""
    return (list(_STATES).index(request.state), *request.rank)


def _blocks_by_state(tier: Tier, held: Iterable[tuple[Request, list[int]]]) -> dict[str, int]:
    """The blocks of a tier by what their holders do; a shared one counts for the holder that is nearest to the device's work.

    ``other`` are held by no request that has not ended: kept for somebody who is to come back, or being copied.
    """
    by_state = {state: set[int]() for state in _STATES}
    for request, block_ids in held:
        by_state[request.state].update(block_ids)
    counts, seen = dict[str, int](), set[int]()
    for state, name in _STATES.items():
        before = len(seen)
        seen |= by_state[state]
        counts[name] = len(seen) - before
    return {
        "total": len(tier.ids),
        **counts,
        "other": len(tier.ids) - tier.num_free - len(seen),
        "cached": tier.num_cached,
        "free": tier.num_free - tier.num_cached,
    }


def _shown(request: Request, output: RequestOutput | None, now: float) -> dict[str, Any]:
    """A line of the queue."""
    stage, *score = request.rank[:-1] or (None,)
    row: dict[str, Any] = {
        "id": request.request_id,
        "state": _STATES[request.state],
        "stage": _STAGES.get(stage),
        "score": round(score[-1], 6) if score else None,
        "age_s": round(now - request.arrival_s, 3),
        "context_tokens": len(request.token_ids),
        "sampled_tokens": request.num_sampled_tokens,
        "segment_tokens": request.num_segment_tokens,
        "device_blocks": len(request.block_ids),
        "host_blocks": len(request.host_block_ids),
        "num_calls": request.num_calls,
        "num_preemptions": request.num_preemptions,
        "predicted_tokens": None,
        "predicted_call_s": None,
        "handling": None,
        "tool": None,
        "is_clients_call": False,
        "in_call_s": None,
    }
    if request.estimate:
        ahead = request.estimate[0]
        row["predicted_tokens"] = round(ahead.output_tokens, 1)
        if ahead.api_duration_s is not None:
            row |= {"predicted_call_s": round(ahead.api_duration_s, 3), "handling": ahead.handling.value}
    if request.state is RequestState.IN_API_CALL:
        expected = request.expected_return_s
        row |= {
            "handling": request.handling.value,
            "in_call_s": round(now - request.paused_s, 3),
            "predicted_call_s": None if expected is None else round(expected - request.paused_s, 3),
            "tool": output.calls[-1].name if output is not None and output.calls else None,
            "is_clients_call": request.finish_reason is not None,
        }
    return row
