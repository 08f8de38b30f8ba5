"""What a GPU does during a step, kernel by kernel, from a trace of JAX's profiler."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

NUMBERS = re.compile(r"[._]?\d+")


def profile(act: Callable[[], object], *, steps: int) -> dict[str, Any]:
    """Runs `act`, which does so many steps, under the profiler; what the device did in each, on average.

    Kernels whose names differ in numbers alone are taken together. ``busy_s`` is the time in which at least one kernel or copy
    ran, ``span_s`` the time from the first one's begin to the last one's end: what lies between them are gaps.
    """
    with tempfile.TemporaryDirectory() as directory:
        jax.profiler.start_trace(directory)
        try:
            act()
        finally:
            jax.profiler.stop_trace()
        (file,) = Path(directory).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(file))
        intervals: list[tuple[float, float]] = []
        kernels: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for plane in data.planes:
            if not plane.name.startswith("/device:GPU:0"):
                continue
            for line in plane.lines:
                if not line.name.startswith("Stream"):
                    continue  # the others repeat what runs on the streams, by operation and by module
                for event in line.events:
                    intervals.append((event.start_ns, event.start_ns + event.duration_ns))
                    total = kernels[NUMBERS.sub("", event.name)]
                    total[0] += 1
                    total[1] += event.duration_ns
    ranked = sorted(kernels.items(), key=lambda kernel: -kernel[1][1])
    return {
        "busy_s": _covered(intervals) * 1e-9 / steps,
        "span_s": (max(end for _, end in intervals) - min(start for start, _ in intervals)) * 1e-9 / steps if intervals else 0.0,
        "kernels": [
            {"name": name, "calls": calls / steps, "total_s": total_ns * 1e-9 / steps} for name, (calls, total_ns) in ranked
        ],
    }


def _covered(intervals: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def print_kernels(measured: dict[str, Any], limit: int = 16) -> None:
    """Prints the kernels that take most of the time."""
    print(f"  device busy {1e3 * measured['busy_s']:.3f} ms of {1e3 * measured['span_s']:.3f} ms")
    for kernel in measured["kernels"][:limit]:
        each_us = 1e6 * kernel["total_s"] / kernel["calls"]
        print(f"  {1e3 * kernel['total_s']:8.3f} ms {kernel['calls']:7.1f} x {each_us:8.1f} us  {kernel['name'][:100]}")
