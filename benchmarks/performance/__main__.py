"""Writes docs/performance.md anew. Run it after a benchmark has written results that are to be committed."""

import argparse
from pathlib import Path

from benchmarks.performance.page import PAGE, RESULTS, committed, text


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of results")
    parser.add_argument("--out", type=Path, default=PAGE, help="where to write the page")
    arguments = parser.parse_args()
    arguments.out.write_text(text(committed(arguments.results)))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
