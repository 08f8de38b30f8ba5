"""How fast lamps-jax is beside other engines on a CPU, and how much memory each takes.

    .venv-peers/bin/python -m benchmarks.peers --out benchmarks/results/peers.json

Two engines at a time, each in a process with two threads, do the same in turns: a pair of times that follow each other is a
ratio, and the median of several is given with the least and the most of them. Before it is timed in float32, an engine has to
give the same tokens as transformers. `least_cores` far below the threads means that something else ran on the machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.document import write_document
from benchmarks.peers.checkpoint import SHAPES, make_checkpoint
from benchmarks.peers.engines import ENGINES, REFERENCE, THREADS
from lamps_jax.terminal import progress_bar

CHECKED_PROMPT, CHECKED_TOKENS = 16, 8
"""Tokens of a prompt, and of its greedy continuation, that an engine must have in common with transformers."""

OURS = next(iter(ENGINES))


class EngineFailed(RuntimeError):
    """Raised where an engine's process has ended, or its library is missing."""


class Worker:
    """An engine in a process of its own."""

    def __init__(self, engine: str, checkpoint: Path, dtype: str, *, batch: int, context: int):
        self.engine, self.peak_bytes = engine, 0
        arguments = [engine, str(checkpoint), dtype, str(batch), str(context)]
        self._held = ExitStack()
        self._log = self._held.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self._held.callback(self._end)
        try:
            started = self._read()
        except EngineFailed:
            self._held.close()
            raise
        if "missing" in started:
            self._held.close()
            raise EngineFailed(f"{engine} is not installed here ({started['missing']}); `make peers` sets up what is needed")

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, *command: Any) -> dict[str, Any]:
        """What it answers.

        Raises:
            EngineFailed: If it has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        self.peak_bytes = answer["peak_bytes"]
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise EngineFailed(f"{self.engine} has ended: {self._log.read()[-1500:]}")
        return json.loads(line)


def measured(ours: Worker, peer: Worker, tasks: Sequence[tuple[Any, ...]], rounds: int, said: Any) -> list[dict[str, Any]]:
    """Each of `tasks` by both in turns."""
    runs = list[dict[str, Any]]()
    for number, task in enumerate(tasks):
        for worker in (ours, peer):  # compiles, and warms
            worker.ask(*task)
        pairs = list[tuple[float, float]]()
        cores = list[float]()
        for turn in range(rounds):
            order = (ours, peer) if turn % 2 == 0 else (peer, ours)
            answers = {worker.engine: worker.ask(*task) for worker in order}
            pairs.append((answers[ours.engine]["result"], answers[peer.engine]["result"]))
            cores.append(min(answer["cores"] for answer in answers.values()))
            said(number * rounds + turn + 1, len(tasks) * rounds)
        ratios = [theirs / mine for mine, theirs in pairs]
        mine_s, theirs_s = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        act, *sizes = task
        batch, context = (1, sizes[0]) if act == "prefill" else sizes[:2]
        tokens = context if act == "prefill" else batch
        runs.append(
            {
                "phase": act, "batch": batch, "context_tokens": context, "rounds": rounds,
                "tokens_per_s": tokens / mine_s, "peer_tokens_per_s": tokens / theirs_s,
                "speedup": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
                "least_cores": min(cores),
            }
        )  # fmt: skip
    return runs


def compared(
    checkpoint: Path, dtype: str, peer: str, tasks: Sequence[tuple[Any, ...]], rounds: int, *, batch: int, context: int
) -> list[dict[str, Any]]:
    """Ours beside one peer, once it is certain that both compute the same.

    Raises:
        EngineFailed: If one cannot be started, ends, or gives other tokens than transformers.
    """
    sizes = {"batch": batch, "context": context}
    with ExitStack() as stack, progress_bar() as progress:
        ours, other = (stack.enter_context(Worker(engine, checkpoint, dtype, **sizes)) for engine in (OURS, peer))
        if dtype == "float32":
            expected = reference_tokens(checkpoint)
            for worker in (ours, other):
                answer = worker.ask("greedy", CHECKED_PROMPT, CHECKED_TOKENS)["result"]
                if answer != expected:
                    raise EngineFailed(f"{worker.engine} gives other tokens than {REFERENCE}: {answer}, not {expected}")
        runs = measured(ours, other, tasks, rounds, lambda done, total: progress(f"{checkpoint.name} {peer}", done, total))
        return [run | {"peak_bytes": ours.peak_bytes, "peer_peak_bytes": other.peak_bytes} for run in runs]


@cache
def reference_tokens(checkpoint: Path) -> list[int]:
    """What transformers continues a prompt with in float32."""
    with Worker(REFERENCE, checkpoint, "float32", batch=1, context=CHECKED_PROMPT + CHECKED_TOKENS) as worker:
        return worker.ask("greedy", CHECKED_PROMPT, CHECKED_TOKENS)["result"]


def print_table(runs: Sequence[dict[str, Any]]) -> None:
    """Prints what was measured."""
    header = f"{'model':6} {'type':8} {'peer':22} {'phase':8} {'batch':>5} {'context':>7} {'ours':>8} {'peer':>8}"
    print(f"{header} {'ratio':>6}  least-most   MB ours/peer")
    for run in runs:
        label = f"{run['model']:6} {run['dtype']:8} {run['peer']:22}"
        if "reason" in run:
            print(f"{label} {run['reason'].splitlines()[0][:90]}")
            continue
        speedup = run["speedup"]
        print(
            f"{label} {run['phase']:8} {run['batch']:5} {run['context_tokens']:7} "
            f"{run['tokens_per_s']:8.1f} {run['peer_tokens_per_s']:8.1f} {speedup['median']:6.2f}  "
            f"{speedup['least']:.2f}-{speedup['most']:.2f}   {run['peak_bytes'] / 1e6:.0f}/{run['peer_peak_bytes'] / 1e6:.0f}"
        )


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/peers.json"), help="where to write the results")
    parser.add_argument("--checkpoints", type=Path, default=Path("build/peers"), help="where checkpoints are made and kept")
    parser.add_argument("--shapes", default="124m,1.1b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument(
        "--dtypes", default="float32,int8", help="of float32, bfloat16, and int8: each engine's own 8-bit integers"
    )
    parser.add_argument("--peers", default=",".join(name for name in ENGINES if name != OURS), help="engines to compare with")
    parser.add_argument("--batches", default="1,8,32", help="decode batch sizes")
    parser.add_argument("--contexts", default="128", help="tokens of context of each row")
    parser.add_argument("--prompts", default="128,512", help="tokens of prompts")
    parser.add_argument("--steps", type=int, default=8, help="decode steps of a time")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of times")
    parser.add_argument("--append", action="store_true", help="adds to the results that are there")
    arguments = parser.parse_args()
    numbers = {name: [int(size) for size in getattr(arguments, name).split(",")] for name in ("batches", "contexts", "prompts")}
    tasks = [("decode", batch, context, arguments.steps) for context, batch in product(numbers["contexts"], numbers["batches"])]
    tasks += [("prefill", tokens) for tokens in numbers["prompts"]]
    sizes = {"batch": max(numbers["batches"]), "context": max(*numbers["contexts"], *numbers["prompts"])}
    runs: list[dict[str, Any]] = json.loads(arguments.out.read_text())["runs"] if arguments.append else []
    for shape in arguments.shapes.split(","):
        checkpoint = make_checkpoint(arguments.checkpoints, shape)
        for dtype, peer in product(arguments.dtypes.split(","), arguments.peers.split(",")):
            if dtype == "int8" and peer.startswith(REFERENCE):
                continue  # has no 8-bit integers of its own on a CPU
            label = {"model": shape, "dtype": dtype, "peer": peer, "threads": THREADS}
            try:
                found = compared(checkpoint, dtype, peer, tasks, arguments.rounds, **sizes)
            except EngineFailed as failure:
                found = [{"reason": str(failure)}]
            runs += [label | run for run in found]
            print_table(runs[-len(found) :])
            write_document(arguments.out, "peers", runs, quiet=True)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
