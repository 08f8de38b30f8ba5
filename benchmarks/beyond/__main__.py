"""Runs what is missing, then writes the report and its figures.

python -m benchmarks.beyond              the whole: docs/report.md, docs/images/report, results; half an hour on two cores
python -m benchmarks.beyond --quick      small, into build/beyond-quick: shows that everything runs
python -m benchmarks.beyond --tables     the report again from the committed results, nothing is run
"""

import argparse
import json

from benchmarks.beyond import document
from benchmarks.beyond.cases import QUICK, WHOLE, all_cases
from benchmarks.document import write_document
from benchmarks.reproduction.pool import ROOT, Committed, Pool
from lamps_jax import terminal

RESULTS = ROOT / "benchmarks/results/beyond.json"

KEPT = (
    "policy", "workload", "model", "rate_rps", "seed", "window_s", "drained", "arrived", "finished", "e2e_s", "ttft_s",
    "all_arrivals", "window_throughput_rps", "slowdown", "slowdown_by_type", "slowdown_by_decile", "waste_token_s", "preemptions",
    "recomputed_tokens", "swapped_tokens", "promoted", "num_steps", "simulated_s", "wall_s",
)  # fmt: skip
"""What the report reads of a run."""


def main() -> None:
    """Runs, writes, and says where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few short runs, to see that all works; not for reading")
    parser.add_argument("--tables", action="store_true", help="write docs/report.md again from the committed results")
    parser.add_argument("--jobs", type=int, help="runs at once; by default as many as there are cores")
    arguments = parser.parse_args()
    if arguments.tables:
        text = document.text(WHOLE, Committed(json.loads(RESULTS.read_text(encoding="utf-8"))))
        (ROOT / "docs/report.md").write_text(text, encoding="utf-8")
        return
    scale = QUICK if arguments.quick else WHOLE
    out, images, results = ROOT / "docs", ROOT / "docs/images/report", RESULTS
    if arguments.quick:
        out = ROOT / "build/beyond-quick"
        images, results = out / "images/report", out / "beyond.json"
    pool, cases = Pool(ROOT / "build/beyond", KEPT), all_cases(scale)
    with terminal.progress_bar() as progress:
        pool.run(cases, lambda done, total: progress("simulating", done, total), jobs=arguments.jobs)
    images.mkdir(parents=True, exist_ok=True)
    document.draw(scale, pool, images)
    (out / "report.md").write_text(document.text(scale, pool), encoding="utf-8")
    write_document(results, "beyond", [{"case": case.key} | pool[case] for case in dict.fromkeys(cases)])


if __name__ == "__main__":
    main()
