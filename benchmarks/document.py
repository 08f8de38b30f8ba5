"""The document that every benchmark writes, and the facts about the machine in it."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from lamps_jax.report.document import save
from lamps_jax.report.machine import commit, host


def machine() -> dict[str, Any]:
    """What the figures depend on: processor or accelerator, cores, memory, versions."""
    return {
        **host(),
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "jax": jax.__version__,
    }


def write_document(path: Path, benchmark: str, runs: Sequence[dict[str, Any]], *, quiet: bool = False) -> None:
    """Writes the runs of a benchmark, and unless `quiet` says where on standard output."""
    save(
        path,
        {"schema": 1, "benchmark": benchmark, "machine": machine(), "commit": commit() or "unknown", "runs": list(runs)},
    )
    if not quiet:
        print(f"wrote {path}")


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles of a sample."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

    return {"mean": statistics.fmean(ordered), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99)}


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Between which the middle half of a sample lies."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, method="inclusive")
    return low, high
