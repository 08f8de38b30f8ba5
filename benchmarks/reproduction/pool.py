"""Runs cases, and keeps what came of them, so that an interrupted reproduction goes on where it stopped."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduction.case import Case
from lamps_jax.sim.sweep import Progress, simulate_all

ROOT = Path(__file__).parents[2]

KEPT = (
    "policy", "workload", "model", "hardware", "rate_rps", "seed", "window_s", "drained", "arrived", "finished", "refused",
    "e2e_s", "ttft_s", "all_arrivals", "by_type", "throughput_rps", "waste_token_s", "pool_tokens", "preemptions",
    "recomputed_tokens", "promoted", "num_steps", "simulated_s", "wall_s", "occupancy", "running_mean_e2e",
)  # fmt: skip
"""What tables and figures read of a run."""

SERIES = ("occupancy", "running_mean_e2e")
"""What is too long to be committed."""


class Pool:
    """Results by case.

    Args:
        directory: Holds a file of results for each state of the simulator's code.
        kept: What is kept of a run.
    """

    def __init__(self, directory: Path, kept: Sequence[str] = KEPT):
        self._kept = kept
        self._path = directory / f"{code_digest()}.jsonl"
        self._runs: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            text = self._path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:  # the last line was cut off by whatever ended the process
                self._path.write_text(whole, encoding="utf-8")
            self._runs = {entry["case"]: entry["run"] for entry in map(json.loads, whole.splitlines())}

    def run(self, cases: Iterable[Case], progress: Progress, jobs: int | None = None) -> None:
        """Runs those of `cases` that have not been run yet."""
        missing = [case for case in dict.fromkeys(cases) if case.key not in self._runs]
        if not missing:
            return
        # Long runs first, so that no core is left alone with one at the end.
        missing.sort(key=lambda case: (-case.drain, -case.window_s, -case.rate_rps))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:

            def keep(place: int, run: dict[str, Any]) -> None:
                key, kept = missing[place].key, _rounded({name: run[name] for name in self._kept if name in run})
                self._runs[key] = kept
                file.write(json.dumps({"case": key, "run": kept}) + "\n")
                file.flush()

            simulate_all([case.spec() for case in missing], jobs=jobs, progress=progress, keep=keep)

    def __getitem__(self, case: Case) -> dict[str, Any]:
        """What came of a case that has been run."""
        return self._runs[case.key]


class Committed:
    """Results read from the document that a reproduction wrote, which has no series."""

    def __init__(self, document: Mapping[str, Any]):
        self._runs: dict[str, dict[str, Any]] = {run["case"]: run for run in document["runs"]}

    def __getitem__(self, case: Case) -> dict[str, Any]:
        """What came of a case."""
        return self._runs[case.key]


Results = Pool | Committed


def code_digest() -> str:
    """Names the state of the code that results depend on."""
    digest = hashlib.sha256()
    for part in ("lamps_jax/sched", "lamps_jax/sim", "lamps_jax/engine/engine.py", "lamps_jax/config.py", "lamps_jax/metrics.py"):
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _rounded(value: Any) -> Any:
    """The same with five digits of every fraction: more would be noise, and long."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
