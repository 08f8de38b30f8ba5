"""How low a mean latency can be: a bound on every scheduler, also on one that knows the future and copies in no time.

A step takes t + sum of (a n + e c) over what it computes: n tokens of a prompt, or one that is decoded, behind which c tokens of
context have been read. Give that the work w = t b / B + a n + e c, with b the blocks of its context and B those of the pool: the
blocks in use are B at most, so the works of a step sum to its duration at most, and a machine that takes one thing at a time,
for its work, would do all of it within the step. On the other hand a request has R of its isolated time to go behind each thing,
and cannot have come to it before A of it. Its latency is therefore at least the mean, weighted by work, of the time at which that
machine does a thing plus R, less its arrival. Over all requests the sum of such mean times is least where the machine takes, of
what has been released, what belongs to the request of the least work in all, and drops it when one of less is released: Goemans,
1997, on mean busy times, for which preemption makes the static order of Smith's ratios optimal. What is computed between two
calls is released at once, A after the arrival: a machine that may begin earlier than the truth is no worse than it. A prompt is
one thing, cut into the chunks that ask for least, with the R of its end.

    python -m benchmarks.beyond.bound       # of the runs of docs/report.md; a few seconds
"""

import heapq
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.beyond import cases
from benchmarks.document import write_document
from benchmarks.reproduction.case import Case
from benchmarks.reproduction.pool import ROOT
from lamps_jax.sim.fleet import FleetSpec
from lamps_jax.sim.hardware import Hardware
from lamps_jax.sim.player import arrivals_of
from lamps_jax.sim.workload import Script

RESULTS = ROOT / "benchmarks/results/bound.json"


class Stretch(NamedTuple):
    """What a request computes between two calls.

    Attributes:
        before_s: Isolated time from the request's arrival to its beginning: A.
        work_s: Its work.
        after_s: Isolated time to the request's end, behind a unit of this work, on the average: R.
    """

    before_s: float
    work_s: float
    after_s: float


class Task(NamedTuple):
    """A stretch that has been released, for the machine that takes one thing at a time.

    Attributes:
        rank: Work in all of the request that it belongs to; the least goes first.
    """

    release_s: float
    rank: float
    work_s: float


def least_mean_s(case: Case) -> float:
    """No scheduler of one device serves the arrivals of `case` to their end with a mean latency below this.

    Raises:
        ValueError: If there are several devices, or clients run calls: they may drop a part of the context.
    """
    spec = case.spec()
    if isinstance(spec, FleetSpec):
        raise ValueError(f"the bound is for one device, got {len(spec.kv_tokens)}")
    known = dict[int, list[Stretch]]()
    latencies_s, tasks = list[float](), list[Task]()
    for arrival in arrivals_of(spec):
        script = arrival.script
        if id(script) not in known:
            known[id(script)] = list(stretches_of(script, spec.hardware))
        stretches = known[id(script)]
        work_s = sum(stretch.work_s for stretch in stretches)
        latencies_s.append(sum(stretch.work_s * stretch.after_s for stretch in stretches) / work_s - arrival.time_s)
        tasks += [Task(arrival.time_s + stretch.before_s, work_s, stretch.work_s) for stretch in stretches]
    busy_s = sum(mean_s * task.work_s / task.rank for task, mean_s in zip(tasks, mean_busy_s(tasks), strict=True))
    return statistics.fmean(latencies_s) + busy_s / len(latencies_s)


def stretches_of(script: Script, hardware: Hardware) -> Iterator[Stretch]:
    """The stretches of a script, in order.

    Raises:
        ValueError: If its client runs calls.
    """
    turn, *others = script.turns()
    if others:
        raise ValueError("the bound is for calls that the server runs, got one that the client runs")
    clock_s, context, news, computed = 0.0, 0, turn.num_prompt_tokens, list[tuple[float, list[tuple[float, float]]]]()
    for segment in turn.segments:
        begin_s, things = clock_s, list[tuple[float, float]]()
        if news:
            chunks = list(_least_chunks(context, news, hardware.token_budget))
            clock_s += sum(hardware.cost_model.forward_s(size, end) for size, end in chunks)
            things.append((sum(_work_s(hardware, size, end) for size, end in chunks), clock_s))
            context += news
        for _ in range(segment.num_generated_tokens - (news > 0)):  # the last chunk yields a token as a decode does
            context += 1
            clock_s += hardware.cost_model.forward_s(1, context)
            things.append((_work_s(hardware, 1, context), clock_s))
        computed.append((begin_s, things))
        if segment.call is not None:
            clock_s, news = clock_s + segment.call.duration_s, segment.call.num_returned_tokens
    for begin_s, things in computed:
        work_s = sum(work for work, _ in things)
        yield Stretch(begin_s, work_s, sum(work * (clock_s - end_s) for work, end_s in things) / work_s)


def _least_chunks(held: int, news: int, most: int) -> Iterator[tuple[int, int]]:
    """Sizes of chunks and the contexts at their ends, so that there are as few, behind as little, as can be: a short one first.

    However they are cut, the last ends behind everything, the one before at most `most` tokens earlier, and so on.
    """
    for end in range(held + news, held, -most):
        yield min(most, end - held), end


def _work_s(hardware: Hardware, num_tokens: int, context: int) -> float:
    cost, share = hardware.cost_model, math.ceil(context / hardware.block_size) / (hardware.num_blocks - 1)
    return cost.forward_s(num_tokens, context) - cost.forward_base_s * (1.0 - share)


def mean_busy_s(tasks: Sequence[Task]) -> list[float]:
    """The mean of the times at which each task is worked on, where the one of the least rank always is."""
    coming = sorted(range(len(tasks)), key=lambda place: tasks[place].release_s, reverse=True)
    left_s, moments, now_s = [task.work_s for task in tasks], [0.0] * len(tasks), 0.0
    released = list[tuple[float, int]]()
    while coming or released:
        if not released:
            now_s = max(now_s, tasks[coming[-1]].release_s)
        while coming and tasks[coming[-1]].release_s <= now_s:
            place = coming.pop()
            heapq.heappush(released, (tasks[place].rank, place))
        place = released[0][1]
        until_s = min(now_s + left_s[place], tasks[coming[-1]].release_s if coming else math.inf)
        spent_s = until_s - now_s
        moments[place] += spent_s * (now_s + until_s) / 2
        left_s[place] -= spent_s
        if not coming or until_s < tasks[coming[-1]].release_s:
            left_s[place] = 0.0  # and not what rounding leaves
        if left_s[place] <= 0.0:
            heapq.heappop(released)
        now_s = until_s
    return [moment / task.work_s for moment, task in zip(moments, tasks, strict=True)]


def main() -> None:
    """Computes the bound of each overload with each seed, and writes the document."""
    found = [case for _, _, _, table in cases.overloads(cases.WHOLE) for case in table[cases.RELEASED]]
    write_document(
        RESULTS,
        "bound",
        [
            {"hardware": case.hardware, "rate_rps": case.rate_rps, "seed": case.seed, "least_mean_s": least_mean_s(case)}
            for case in found
        ],
    )


if __name__ == "__main__":
    main()
