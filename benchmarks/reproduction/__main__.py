"""The command line: runs what is missing, then writes the document and its figures.

python -m benchmarks.reproduction              the whole: docs/reproduction.md, docs/images/reproduction, results
python -m benchmarks.reproduction --quick      small, into build/reproduction-quick: shows that everything runs
python -m benchmarks.reproduction --tables     the document again from the committed results, nothing is run
"""

import argparse
import json

from benchmarks.document import write_document
from benchmarks.reproduction import document, paper, studies
from benchmarks.reproduction.paper import QUICK, WHOLE
from benchmarks.reproduction.pool import ROOT, SERIES, Committed, Pool
from lamps_jax import terminal

RESULTS = ROOT / "benchmarks/results/reproduction.json"


def main() -> None:
    """Runs, writes, and says where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few short runs, to see that all works; not for reading")
    parser.add_argument("--tables", action="store_true", help="write docs/reproduction.md again from the committed results")
    parser.add_argument("--jobs", type=int, help="runs at once; by default as many as there are cores")
    arguments = parser.parse_args()
    if arguments.tables:
        text = document.text(WHOLE, Committed(json.loads(RESULTS.read_text(encoding="utf-8"))))
        (ROOT / "docs/reproduction.md").write_text(text, encoding="utf-8")
        return
    scale = QUICK if arguments.quick else WHOLE
    out, images, results = ROOT / "docs", ROOT / "docs/images/reproduction", RESULTS
    if arguments.quick:
        out = ROOT / "build/reproduction-quick"
        images, results = out / "images/reproduction", out / "reproduction.json"
    pool = Pool(ROOT / "build/reproduction")
    cases = [case for experiment in (*paper.experiments(scale), *studies.experiments(scale)) for case in experiment.cases]
    with terminal.progress_bar() as progress:
        pool.run(cases, lambda done, total: progress("simulating", done, total), jobs=arguments.jobs)
    images.mkdir(parents=True, exist_ok=True)
    document.draw(scale, pool, images)
    (out / "reproduction.md").write_text(document.text(scale, pool), encoding="utf-8")
    write_document(results, "reproduction", [{"case": case.key} | _without_series(pool[case]) for case in dict.fromkeys(cases)])


def _without_series(run: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in run.items() if name not in SERIES}


if __name__ == "__main__":
    main()
