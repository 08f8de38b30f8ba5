"""Results documents that nobody measured: a toy queue stands for the engine. Shapes are plausible, every number is made up.

A few servers stand for the device's memory. A request holds one while it computes; it computes, calls a tool, computes again.
What a system does with the server during the call, and whom it serves next, is all that sets systems apart.
"""

import heapq
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

SERVERS, TOKENS = 8, 1000
TYPES = {"math": (2.0, 0.5), "question": (3.0, 2.0), "chat": (6.0, 20.0), "picture": (4.0, 12.0)}
"""Mean seconds of computing and of the call, by type."""

HANDLING = {"toy-vllm": "discard", "toy-infercept": "preserve", "toy-lamps": "swap"}


@dataclass
class Job:
    number: int
    type: str
    arrival_s: float
    compute_s: list[float]
    call_s: float
    first_token_s: float | None = None
    finished_s: float | None = None
    spans: list[tuple[str, float, float]] = field(default_factory=list)


def jobs_of(rate: float, seed: int, window_s: float) -> list[Job]:
    random_numbers, now, jobs = random.Random(f"{rate} {seed}"), 0.0, []
    while (now := now + random_numbers.expovariate(rate)) < window_s:
        kind = random_numbers.choice(list(TYPES))
        compute_s, call_s = TYPES[kind]
        halves = [random_numbers.expovariate(2 / compute_s) + 0.1 for _ in range(2)]
        jobs.append(Job(len(jobs), kind, now, halves, random_numbers.expovariate(1 / call_s)))
    return jobs


def serve(jobs: Sequence[Job], handling: str, window_s: float) -> None:
    """Runs the toy queue; what has not ended at the end of the window stays unfinished."""
    events = [(job.arrival_s, job.number, "ready", 0) for job in jobs]
    waiting: list[tuple[float, int, int, float]] = []
    free = SERVERS
    while events:
        now, number, what, half = heapq.heappop(events)
        if now > window_s:
            break
        job = jobs[number]
        if what == "ready":
            key = sum(job.compute_s[half:]) if handling == "swap" else job.arrival_s
            heapq.heappush(waiting, (key, number, half, now))
        elif what == "computed" and half == 0:
            job.spans.append((f"call-{handling}", now, now + job.call_s))
            free += handling != "preserve"
            heapq.heappush(events, (now + job.call_s, number, "start" if handling == "preserve" else "ready", 1))
        elif what == "computed":
            job.finished_s, free = now, free + 1
        elif what == "start":
            compute(job, half, now, handling, events)
        while free and waiting:
            _, other, half_of_other, since = heapq.heappop(waiting)
            jobs[other].spans.append(("waiting", since, now))
            free -= 1
            compute(jobs[other], half_of_other, now, handling, events)
    for _, number, _, since in waiting:
        jobs[number].spans.append(("waiting", since, window_s))
    for job in jobs:
        job.spans = [(state, start_s, min(end_s, window_s)) for state, start_s, end_s in job.spans if start_s < window_s]


def compute(job: Job, half: int, now: float, handling: str, events: list[tuple[float, int, str, int]]) -> None:
    prefill_s = 0.3 if half == 0 else {"discard": 0.9, "swap": 0.2, "preserve": 0.0}[handling]
    decode_at, ends_at = now + prefill_s, now + prefill_s + job.compute_s[half]
    job.spans += [("swapping in" if half and handling == "swap" else "prefill", now, decode_at), ("decode", decode_at, ends_at)]
    job.first_token_s = decode_at if job.first_token_s is None else job.first_token_s
    heapq.heappush(events, (ends_at, job.number, "computed", half))


def spread(values: Sequence[float]) -> dict[str, float] | None:
    ordered = sorted(values)
    if not ordered:
        return None
    at = {f"p{percent}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 90, 99)}
    return {"mean": statistics.fmean(ordered), **at}


def occupancy_of(jobs: Sequence[Job], handling: str, window_s: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ("time_s", "computing", "preserved", "cached", "free", "host")}
    for step in range(200):
        now = window_s * step / 200
        states = [state for job in jobs for state, start_s, end_s in job.spans if start_s <= now < end_s]
        computing = TOKENS * sum(state in ("prefill", "decode", "swapping in") for state in states)
        preserved, host = (TOKENS * states.count(state) for state in ("call-preserve", "call-swap"))
        left = SERVERS * TOKENS - computing - preserved
        cached = left // 2 if handling == "discard" else 0
        for name, value in zip(found, (now, computing, preserved, cached, left - cached, host), strict=True):
            found[name].append(float(value))
    return found


def run_of(policy: str, rate: float, seed: int, *, window_s: float = 120.0, details: bool = False) -> dict[str, Any]:
    """A run of the contract's shape; `details` adds samples, occupancy and timeline."""
    handling = HANDLING[policy]
    jobs = jobs_of(rate, seed, window_s)
    serve(jobs, handling, window_s)
    done = [job for job in jobs if job.finished_s is not None]
    e2e_s = [job.finished_s - job.arrival_s for job in done if job.finished_s is not None]
    ttft_s = [job.first_token_s - job.arrival_s for job in done if job.first_token_s is not None]
    held = sum(
        min(end_s, window_s) - start_s for job in jobs for state, start_s, end_s in job.spans if state == f"call-{handling}"
    )
    waste = {"preserved": 0.0, "recomputed": 0.0, "swapped": 0.0}
    cause = {"preserve": "preserved", "discard": "recomputed", "swap": "swapped"}[handling]
    waste[cause] = TOKENS * held * {"preserve": 1.0, "discard": 0.2, "swap": 0.05}[handling]
    waste["recomputed"] += TOKENS * 0.05 * held
    run: dict[str, Any] = {
        "policy": policy,
        "label": "",
        "workload": "toy-workload",
        "model": "toy-model",
        "hardware": "toy-device",
        "rate_rps": rate,
        "seed": seed,
        "window_s": window_s,
        "drained": False,
        "arrived": len(jobs),
        "finished": len(done),
        "unfinished": len(jobs) - len(done),
        "refused": 0,
        "e2e_s": spread(e2e_s),
        "ttft_s": spread(ttft_s),
        "all_arrivals": {
            "e2e_s": spread([(window_s if job.finished_s is None else job.finished_s) - job.arrival_s for job in jobs]),
            "ttft_s": spread([(window_s if job.first_token_s is None else job.first_token_s) - job.arrival_s for job in jobs]),
        },
        "by_type": {
            kind: {
                "arrived": sum(job.type == kind for job in jobs),
                "finished": sum(job.type == kind for job in done),
                "e2e_s": spread([(job.finished_s or 0.0) - job.arrival_s for job in done if job.type == kind]),
                "ttft_s": None,
            }
            for kind in TYPES
        },
        "throughput_rps": len(done) / window_s,
        "goodput_rps": sum(each < 30 for each in e2e_s) / window_s,
        "waste_token_s": waste,
        "pool_tokens": SERVERS * TOKENS,
        "preemptions": len(jobs) // 7,
        "simulated_s": window_s,
        "options": {},
    }
    if details:
        ends = sorted((job.finished_s, job.finished_s - job.arrival_s) for job in done if job.finished_s is not None)
        means, total = [], 0.0
        for place, (_, latency_s) in enumerate(ends, 1):
            total += latency_s
            means.append(total / place)
        run |= {
            "latencies": {"e2e_s": e2e_s, "ttft_s": ttft_s},
            "occupancy": occupancy_of(jobs, handling, window_s),
            "running_mean_e2e": {"time_s": [end for end, _ in ends], "mean_s": means},
            "timeline": [
                {"request": job.number, "type": job.type, "arrival_s": job.arrival_s, "spans": job.spans} for job in jobs[:80]
            ],
        }
    return run


@cache
def document_text(rates: tuple[float, ...] = (0.8, 1.2), seeds: tuple[int, ...] = (0, 1, 2)) -> str:
    import json

    runs = [run_of(policy, rate, seed, details=seed == 0) for policy in HANDLING for rate in rates for seed in seeds]
    return json.dumps({"schema": 1, "kind": "simulate", "machine": {"cpu": "toy processor"}, "commit": "0000000", "runs": runs})
