"""What was compiled, as the tables of docs/portability.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.aot.chips import CHIPS
from benchmarks.aot.measure import COMPILED

BEGIN, END = "<!-- tables: python -m benchmarks.aot --merge -->", "<!-- end of tables -->"
"""Between these lines of the document stands what `tables` gives."""

DETAILS = (
    "| model | devices | program | attention | compiled | arguments | temporaries | in place | collectives | kernels | fits |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)
TITLES = {"v5e": "TPU v5e", "v6e": "TPU v6e", "a100": "NVIDIA A100", "h200": "NVIDIA H200"}


def tables(runs: Sequence[dict[str, Any]]) -> str:
    """Where each model fits, then every program of every target."""
    parts = [fit_table(runs)]
    for target in CHIPS:
        if here := [run for run in runs if run["target"] == target]:
            parts += [f"### {TITLES[target]}", detail_table(here)]
    return "\n\n".join(parts)


def fit_table(runs: Sequence[dict[str, Any]]) -> str:
    """For each model and chip the numbers of devices on which every program compiles and fits."""
    targets = list(dict.fromkeys(run["target"] for run in runs))
    variants = [(target, variant) for target in targets for variant in CHIPS[target].memories]
    lines = [
        "| model | " + " | ".join(variant_title(target, variant) for target, variant in variants) + " |",
        "|---|" + "---|" * len(variants),
    ]
    for model in dict.fromkeys(run["model"] for run in runs):
        cells = []
        for target, variant in variants:
            here = [run for run in runs if (run["target"], run["model"]) == (target, model)]
            cells.append(", ".join(str(size) for size in fitting_sizes(here, variant)) or "none")
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fitting_sizes(runs: Sequence[dict[str, Any]], variant: str) -> list[int]:
    """Numbers of devices for which each program has a run that is in order and fits the chip's `variant`."""
    programs = {run["program"] for run in runs}
    good = {
        (run["tensor_parallel"], run["program"])
        for run in runs
        if run["status"] == "ok" and run["fits"][variant]
    }  # fmt: skip
    sizes = sorted({run["tensor_parallel"] for run in runs})
    return [size for size in sizes if all((size, program) in good for program in programs)]


def variant_title(target: str, variant: str) -> str:
    """A chip's name, with its memory where it is sold with several."""
    return f"{TITLES[target]} {variant}" if len(CHIPS[target].memories) > 1 else TITLES[target]


def detail_table(runs: Sequence[dict[str, Any]]) -> str:
    """One row a program; what was not compiled has its reason in place of figures."""
    return "\n".join([*DETAILS, *(_row(run) for run in runs)])


def _row(run: dict[str, Any]) -> str:
    lead = f"| {run['model']} | {run['tensor_parallel']} | {run['program']} | {run['attention']} | "
    if run["status"] not in COMPILED:
        return lead + f"{run['status']}: {run['reason']} |" + " |" * 6
    cells = (
        f"{run['compile_cpu_s']:.1f} s",
        f"{run['argument_bytes'] / 1e9:.2f} GB",
        f"{run['temporary_bytes'] / 1e6:.1f} MB",
        "yes" if run["status"] == "ok" else f"NO: {run['reason']}",
        ", ".join(f"{count} {kind}" for kind, count in run["collectives"].items()) or "none",
        str(run["kernel_calls"]),
        ", ".join(
            ("yes" if fits else "no") + (f" ({variant})" if len(run["fits"]) > 1 else "") for variant, fits in run["fits"].items()
        ),
    )
    return lead + " | ".join(cells) + " |"


def summary_line(run: dict[str, Any]) -> str:
    """A run in one line of a terminal."""
    name = f"{run['target']:5} {run['model']:15} x{run['tensor_parallel']} {run['program']:8} {run['attention']:11}"
    if "argument_bytes" not in run:
        return f"{name} {run['status']}: {run['reason'][:300]}"
    return (
        f"{name} {run['status']:6} {run['compile_cpu_s']:6.1f} s  {run['argument_bytes'] / 1e9:6.2f} GB "
        f"+ {run['temporary_bytes'] / 1e6:6.1f} MB  {run['collectives']} {run.get('reason', '')}"
    )


def write_tables(document: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Puts the tables into their place in `document`.

    Raises:
        ValueError: If the document does not have the lines that mark the place.
    """
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the line {BEGIN if not begin else END}; put it where the tables belong")
    document.write_text(f"{before}{BEGIN}\n\n{tables(runs)}\n\n{END}{after}")
    print(f"wrote {document}")
