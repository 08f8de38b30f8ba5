"""Compiles the engine's programs for accelerators that this machine does not have, and reports what the compilers say.

    python -m benchmarks.aot --target v5e,v6e [--out build/aot]      # in an environment with jax[tpu]
    python -m benchmarks.aot --target a100,h200 [--out build/aot]    # in an environment with jax[cuda12]
    python -m benchmarks.aot --merge [--out build/aot]               # into benchmarks/results/aot.json and docs/portability.md

Nothing is run and no weight is allocated. One JSON file a target holds what has been compiled so far; a run goes on where the one
before ended, also that of the results, and compiles again where the sources have changed since. The exit status of ``--merge`` is
1 if a program fails.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

import lamps_jax
from benchmarks.aot.cases import MODELS, PROGRAMS
from benchmarks.aot.chips import CHIPS, use_host_only
from benchmarks.aot.measure import FAILURES, attentions, measure
from benchmarks.aot.table import summary_line, write_tables
from benchmarks.document import write_document

RESULTS, DOCUMENT = Path("benchmarks/results/aot.json"), Path("docs/portability.md")
KEY = ("target", "model", "tensor_parallel", "program", "attention")
"""What tells one run from another."""


PROGRAM_SOURCES = (
    *("engine/batch.py", "engine/sampling.py", "engine/step.py", "kv_cache/*.py", "models/attention/*.py"),
    *(f"models/{name}.py" for name in ("architecture", "gptj", "layers", "llama", "rope", "sharding")),
)
"""The modules that a program is traced from."""


def sources() -> str:
    """A digest of the modules that a program is traced from, and of the version of JAX."""
    root = Path(lamps_jax.__file__).parent
    digest = hashlib.sha256(jax.__version__.encode())
    for pattern in PROGRAM_SOURCES:
        for file in sorted(root.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def compile_all(target: str, path: Path, cases: list[tuple[str, int, str]], attention: str | None) -> None:
    """Adds the runs of one target to those in `path`; each is written down as soon as it is there."""
    chip, digest = CHIPS[target], sources()
    known = {_key(run): run for file in (RESULTS, path) for run in _runs(file) if run["target"] == target}
    for model, tensor_parallel, program in cases:
        for backend in [attention] if attention else attentions(chip):
            key = (target, model, tensor_parallel, program, backend)
            if key not in known or known[key]["sources"] != digest:
                known[key] = measure(chip, MODELS[model], tensor_parallel, program, backend) | {"sources": digest}
                print(summary_line(known[key]), flush=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"runs": list(known.values())}, indent=1))
            if known[key]["status"] != "unsupported":
                break


def merge(folder: Path) -> list[dict[str, Any]]:
    """The runs of all targets: those in `folder`, and what it lacks from the results of before."""
    known = {_key(run): run for file in (RESULTS, *sorted(folder.glob("*.json"))) for run in _runs(file)}
    runs = sorted(known.values(), key=_order)
    write_document(RESULTS, "aot", runs)
    return runs


def _runs(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["runs"] if path.exists() else []


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(run[key] for key in KEY)


def _order(run: dict[str, Any]) -> tuple[Any, ...]:
    places = [list(table).index(run[key]) for table, key in ((CHIPS, "target"), (MODELS, "model"), (PROGRAMS, "program"))]
    return places[0], places[1], run["tensor_parallel"], places[2], run["attention"]


def _cases(arguments: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    for model in arguments.models.split(","):
        for tensor_parallel in map(int, arguments.tensor_parallel.split(",")):
            for program in arguments.programs.split(","):
                yield model, tensor_parallel, program


def main() -> int:
    """Compiles, or merges what has been compiled; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", help=f"of {', '.join(CHIPS)}, separated by commas")
    parser.add_argument("--merge", action="store_true", help="make the results and the tables of what has been compiled")
    parser.add_argument("--out", type=Path, default=Path("build/aot"), help="folder of one JSON file a target")
    parser.add_argument("--models", default=",".join(MODELS), help="names of models")
    parser.add_argument("--tensor-parallel", default="1,2,4,8", help="numbers of devices")
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="names of programs")
    parser.add_argument("--attention", help="a backend; without one the platform's own, and xla where that does not serve")
    arguments = parser.parse_args()
    if not arguments.target and not arguments.merge:
        parser.error("give --target, or --merge")
    use_host_only()
    for target in arguments.target.split(",") if arguments.target else ():
        compile_all(target, arguments.out / f"{target}.json", list(_cases(arguments)), arguments.attention)
    if not arguments.merge:
        return 0
    runs = merge(arguments.out)
    write_tables(DOCUMENT, runs)
    return int(any(run["status"] in FAILURES for run in runs))


if __name__ == "__main__":
    sys.exit(main())
