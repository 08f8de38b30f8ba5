"""Many runs at once, over the machine's cores."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any

from lamps_jax.sim.fleet import FleetSpec, simulate_fleet
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec

Progress = Callable[[int, int], None]
"""``(done, total)``."""

Keep = Callable[[int, dict[str, Any]], None]
"""Place of a spec, and what came of it."""


def simulate_all(
    specs: Sequence[RunSpec | FleetSpec],
    *,
    jobs: int | None = None,
    progress: Progress = lambda done, total: None,
    keep: Keep = lambda place, run: None,
) -> list[dict[str, Any]]:
    """What `simulate` gives for each of `specs`, in their order, whichever ends first.

    Args:
        jobs: Processes; None for as many as there are cores. With 1 everything runs in this one.
        keep: Told of each run as it ends, in any order.

    Raises:
        ValueError: If `jobs` is not positive, or as `simulate` does.
    """
    jobs = min(jobs if jobs is not None else os.cpu_count() or 1, len(specs) or 1)
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    progress(0, len(specs))
    if jobs == 1:
        runs = []
        for spec in specs:
            runs.append(_simulate(spec))
            keep(len(runs) - 1, runs[-1])
            progress(len(runs), len(specs))
        return runs
    # Fresh processes: one that is forked from a process with threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_simulate, spec) for spec in specs]
        places = {future: place for place, future in enumerate(futures)}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                if error := future.exception():
                    pool.shutdown(cancel_futures=True)
                    raise error
                keep(places[future], future.result())
            progress(sum(future.done() for future in futures), len(specs))
        return [future.result() for future in futures]


def _simulate(spec: RunSpec | FleetSpec) -> dict[str, Any]:
    return simulate_fleet(spec) if isinstance(spec, FleetSpec) else simulate(spec)
