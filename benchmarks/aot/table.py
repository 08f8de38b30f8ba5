"""What was compiled, as the tables of docs/portability.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.aot.cases import PROGRAMS
from benchmarks.aot.chips import CHIPS

BEGIN, END = "<!-- tables: python -m benchmarks.aot --merge -->", "<!-- end of tables -->"
"""Between these lines of the document stands what `tables` gives."""

ATTENDING = ("prefill", "decode")
"""Programs that an attention backend is part of."""

DETAILS = (
    "| model | devices | program | attention | compiled in | arguments | temporaries | in order | collectives | kernels | fits |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def tables(runs: Sequence[dict[str, Any]]) -> str:
    """Where each model fits, then every program of every target."""
    parts = [fit_table(runs)]
    for target, chip in CHIPS.items():
        if here := [run for run in runs if run["target"] == target]:
            parts += [f"### {chip.title}", "\n".join([*DETAILS, *(_row(run) for run in here)])]
    return "\n\n".join(parts)


def fit_table(runs: Sequence[dict[str, Any]]) -> str:
    """For each model and chip the numbers of devices on which every program compiles, keeps the rules and fits.

    A question mark stands behind a number for which not every program has been compiled.
    """
    variants = [(target, size) for target in CHIPS for size in CHIPS[target].memories]
    lines = [
        "| model | " + " | ".join(f"{CHIPS[target].title} {size}" for target, size in variants) + " |",
        "|---|" + "---|" * len(variants),
    ]
    for model in dict.fromkeys(run["model"] for run in runs):
        cells = [
            _fitting([run for run in runs if (run["target"], run["model"]) == (target, model)], CHIPS[target].memories[size])
            for target, size in variants
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _fitting(runs: Sequence[dict[str, Any]], memory_bytes: int) -> str:
    cells = []
    for devices in sorted({run["tensor_parallel"] for run in runs}):
        # Where the platform's own kernel does not serve, the run that counts is that of the fall-back.
        here = {
            run["program"]: run["status"] == "ok" and run["peak_bytes"] <= memory_bytes
            for run in runs
            if run["tensor_parallel"] == devices and run["status"] != "unsupported"
        }
        if here and all(here.values()):
            cells.append(f"{devices}" if here.keys() == set(PROGRAMS) else f"{devices}?")
    return ", ".join(cells) or ("none" if runs else "not compiled")


def _row(run: dict[str, Any]) -> str:
    attention = run["attention"] if run["program"] in ATTENDING else ""
    lead = f"| {run['model']} | {run['tensor_parallel']} | {run['program']} | {attention} | "
    if "peak_bytes" not in run:
        return lead + f"{run['status']}: {run['reason']} |" + " |" * 6
    memories = CHIPS[run["target"]].memories
    cells = (
        f"{run['compile_cpu_s']:.1f} s",
        f"{run['argument_bytes'] / 1e9:.2f} GB",
        f"{run['temporary_bytes'] / 1e6:.1f} MB",
        "yes" if run["status"] == "ok" else f"NO: {run['reason']}",
        ", ".join(f"{count} {kind}" for kind, count in run["collectives"].items()) or "none",
        str(run["kernel_calls"]),
        ", ".join(
            ("yes" if run["peak_bytes"] <= memory_bytes else "no") + (f" ({size})" if len(memories) > 1 else "")
            for size, memory_bytes in memories.items()
        ),
    )
    return lead + " | ".join(cells) + " |"


def summary_line(run: dict[str, Any]) -> str:
    """A run in one line of a terminal."""
    name = f"{run['target']:5} {run['model']:15} x{run['tensor_parallel']} {run['program']:8} {run['attention']:11}"
    if "peak_bytes" not in run:
        return f"{name} {run['status']}: {run['reason']}"
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
        raise ValueError(f"{document} lacks the line {END if begin else BEGIN}; put it where the tables belong")
    document.write_text(f"{before}{BEGIN}\n\n{tables(runs)}\n\n{END}{after}")
    print(f"wrote {document}")
