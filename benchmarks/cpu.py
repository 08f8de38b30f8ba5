"""Everything that counts on a processor, in one document: each part a benchmark by itself, in a process by itself, one at a time.

    benchmarks/cpu.sh

What fails, takes too long or finds no time left says so in its place. The document is written anew after each part: a run that is
cut short leaves what it measured. A table of what was reached beside what the machine could do ends it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.document import write_document

PEERS_PYTHON = Path(".venv-peers/bin/python")
"""Of the environment that `make peers` sets up; without it that part is skipped."""

Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark, and how it is started.

    Attributes:
        command: Behind the interpreter; ``{out}`` stands for the file that it writes. Without it, it prints the document.
        limit_s: After which it is ended.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    python: Path = Path(sys.executable)


_CLI = ("-c", "from lamps_jax.cli import main; main()")


def _steps(model: str, limit_s: float, *options: str) -> Part:
    command = ("-m", "benchmarks.accelerator", "--out", "{out}", "--models", model, "--dtype", "float32", "--matmul-size", "2048")
    return Part(model, (*command, *options), limit_s)


PARTS = (
    _steps(
        "gpt-j-124m", 150, "--batches", "1,8,32", "--chunks", "128,512", "--context", "512", "--steps", "12",
        "--parts", "decode,prefill,swap,costs,sampling,host",
    ),
    _steps(
        "tinyllama-1.1b", 150, "--batches", "1,8,32", "--chunks", "128", "--context", "128", "--steps", "8",
        "--parts", "decode,prefill",
    ),
    Part(
        "served",
        (*_CLI, "bench", "--workload", "multi-api", "--policy", "lamps-plus", "--rate", "1,2,4", "--window", "15", "--json"),
        120,
    ),
    Part("doctor", (*_CLI, "doctor", "--json"), 180),
    Part(
        "peers",
        tuple("-m benchmarks.peers --out {out} --shapes 124m --dtypes float32 --rounds 3 --prompts 128".split()),
        240, PEERS_PYTHON,
    ),
)  # fmt: skip


def measure(part: Part) -> list[Run]:
    """The runs of a part.

    Raises:
        RuntimeError: If it fails, takes longer than it may, or leaves no document.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        command = [str(part.python), *(word.format(out=out) if word == "{out}" else word for word in part.command)]
        with (Path(folder) / "log").open("w+") as log:
            try:
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, timeout=part.limit_s)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"took longer than {part.limit_s:.0f} s") from None
            log.seek(0)
            said = log.read()
        try:
            return runs_of(json.loads(out.read_text() if out.exists() else done.stdout))
        except (json.JSONDecodeError, KeyError):
            last = (said.strip().splitlines() or ["nothing was said"])[-1]
            raise RuntimeError(f"no results (exit status {done.returncode}): {last[:300]}") from None


def runs_of(document: dict[str, Any]) -> list[Run]:
    """The runs of a benchmark's document; what the doctor found is one for each check."""
    if "checks" in document:
        return [{"phase": "check"} | check for check in document["checks"]]
    return document["runs"]


def measure_all(parts: Iterable[Part], out: Path, budget_s: float) -> list[Run]:
    """All parts by and by, the document written after each."""
    began, runs = time.monotonic(), list[Run]()
    for part in parts:
        started = time.monotonic()
        if started - began > budget_s:
            found = [{"phase": "skipped", "reason": "no time was left"}]
        elif not part.python.exists():
            found = [{"phase": "skipped", "reason": f"{part.python} is not there; `make peers` sets it up"}]
        else:
            print(f"{part.name} ...", flush=True)
            try:
                found = measure(part)
            except RuntimeError as error:
                found = [{"phase": "failed", "reason": str(error)}]
        took_s = time.monotonic() - started
        print(f"  {part.name}: {took_s:.0f} s {found[0].get('reason', '')}", flush=True)
        runs += [{"part": part.name} | run for run in found]
        write_document(out, "cpu", runs, quiet=True)
    return runs


def shares(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, str]]:
    """What was measured, what share it is of what could be had, and of what."""
    rows = list[tuple[str, float, str]]()
    for run in runs:
        part = run["part"]
        if "speedup" in run and "peer" in run:
            what = f"{run['model']} {run['phase']} of {run['batch']} at {run['context_tokens']}"
            rows.append((what, run["speedup"]["median"], f"the rate of {run['peer']}"))
        elif "share_of_limit" in run:
            limit = "the product of large matrices" if run["phase"] == "prefill" else "the bandwidth of a copy"
            rows.append((f"{part} of {run['batch']} at {run['context_tokens']}", run["share_of_limit"], limit))
        elif "share_of_copy" in run:
            rows.append((f"{part} {run['phase']} of {run['blocks']} blocks", run["share_of_copy"], "a plain copy"))
        elif "slowdown" in run and "blocks" in run:  # a bench has slowdowns too, of its requests
            rows.append((f"{part} of {run['blocks']} blocks beside decode", 1 / run["slowdown"], "decode alone"))
        elif run.get("phase") == "host":
            rows.append((f"{part}'s time of a step", run["host_s"] / run["step_s"], "the step"))
    return rows


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The shares in columns, and below them what there are none of."""
    lines = [f"{'what':52} {'ratio':>6}  of"]
    lines += [f"{what:52} {share:6.2f}  {limit}" for what, share, limit in shares(runs)]
    lines += [f"{run['part']}: {run['phase']}: {run['reason']}" for run in runs if run.get("phase") in ("failed", "skipped")]
    lines += [
        f"doctor: {run['name']}: {run['status']}" for run in runs if run.get("phase") == "check" and run["status"] != "pass"
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures the parts that were asked for, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cpu.json"), help="where to write the results")
    parser.add_argument("--parts", default=",".join(part.name for part in PARTS), help="what to measure")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds after which no further part begins")
    arguments = parser.parse_args()
    asked = arguments.parts.split(",")
    if unknown := set(asked) - {part.name for part in PARTS}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}")
    print(table(measure_all([part for part in PARTS if part.name in asked], arguments.out, arguments.budget)))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
