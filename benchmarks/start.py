"""From the start of a process to a ready engine: without compiled programs, and with those of an earlier start.

    python -m benchmarks.start

Each start is a process of its own; the first finds an empty cache, the others what it left there.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.document import write_document
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import build_engine, model_directory


def start(model: str, cache: str, host_kv_bytes: int) -> dict[str, float]:
    """Builds an engine in this process; seconds until it was ready, and those of them spent on its programs."""
    began, marks = time.perf_counter(), dict[str, float]()

    def progress(what: str, done: int, total: int) -> None:
        if done in (0, total):
            marks[f"{what} {'ends' if done else 'begins'}"] = time.perf_counter()

    config = EngineConfig(SchedulerConfig(max_num_seqs=16), compile_cache=cache, host_kv_bytes=host_kv_bytes)
    build_engine(model_directory(model), config, (), progress=progress)
    return {"build_s": time.perf_counter() - began, "programs_s": marks["compiling ends"] - marks["compiling begins"]}


def measured(model: str, cache: str, host_kv_bytes: int) -> dict[str, Any]:
    """`start` in a process of its own, with the seconds that the whole process took."""
    began = time.perf_counter()
    arguments = ["--model", model, "--cache", cache, "--host-kv-bytes", str(host_kv_bytes)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.start", *arguments], capture_output=True, text=True, check=True)
    return {"process_s": time.perf_counter() - began, **json.loads(done.stdout)}


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/start.json"), help="where to write the results")
    parser.add_argument("--model", default="embedded", help="'embedded' or a model's directory")
    parser.add_argument("--host-kv-bytes", type=int, default=2**26, help="host tier, whose programs are compiled too; 0 for none")
    parser.add_argument("--repeats", type=int, default=3, help="starts that find the programs")
    parser.add_argument("--cache", help="measure one start in this process, with this cache, and print it as JSON")
    arguments = parser.parse_args()
    if arguments.cache is not None:
        print(json.dumps(start(arguments.model, arguments.cache, arguments.host_kv_bytes)))
        return
    with tempfile.TemporaryDirectory() as cache:
        first = measured(arguments.model, cache, arguments.host_kv_bytes)
        later = [measured(arguments.model, cache, arguments.host_kv_bytes) for _ in range(arguments.repeats)]
    second = {name: statistics.median(one[name] for one in later) for name in first}
    share = second["programs_s"] / first["programs_s"]
    print(f"{'start':8} {'process s':>10} {'programs s':>11}")
    for name, run in (("first", first), ("later", second)):
        print(f"{name:8} {run['process_s']:10.2f} {run['programs_s']:11.2f}")
    print(f"programs take {share:.0%} of the first time when they are found")
    runs = [{"start": "first", **first}, {"start": "later", "programs_share_of_first": share, **second}]
    write_document(
        arguments.out, "start", [{"model": arguments.model, "host_kv_bytes": arguments.host_kv_bytes} | run for run in runs]
    )


if __name__ == "__main__":
    main()
