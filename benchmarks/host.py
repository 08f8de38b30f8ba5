"""The host's time per step: planning, packing, dispatching and taking in what was sampled, without the wait for the device."""

import statistics
import time
from typing import Any

from benchmarks.scripted_engine import Lengths, Serving


def measure_host(serving: Serving, *, running: int, waiting: int, steps: int) -> dict[str, Any]:
    """Times steps of an engine in which `running` requests decode and `waiting` more have arrived.

    ``host_s`` is the time of a step without that of `collect`, which waits; ``submit_s`` is the part of it that packs and
    dispatches. Where the step took longer than that, the device was what the host waited for.
    """
    engine, executor = serving.engine, serving.executor
    for number in range(running):
        serving.add(Lengths(16, 4 * (steps + running)), number)
    while engine.scheduler.num_running < running:
        engine.step()
    for number in range(waiting):
        serving.add(Lengths(16, 16), running + number)
    host_s: list[float] = []
    step_s: list[float] = []
    submit_s: list[float] = []
    for _ in range(steps):
        began = time.perf_counter()
        engine.step()
        took = time.perf_counter() - began
        step_s.append(took)
        host_s.append(took - executor.collect_s[-1])
        submit_s.append(executor.submit_s[-1])
    return {
        "phase": "host", "running": running, "waiting": waiting, "step_s": statistics.median(step_s),
        "host_s": statistics.median(host_s), "submit_s": statistics.median(submit_s),
    }  # fmt: skip
