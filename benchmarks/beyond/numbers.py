"""What the runs of one case say together, and how it is written."""

import re
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.reproduction.case import Case
from benchmarks.reproduction.pool import Results
from lamps_jax.report.runs import Estimate, estimate_of

WIDTH = 150
"""Of a line of prose."""

Run = Mapping[str, Any]
Get = Callable[[Run], float]


def mean_s(run: Run) -> float:
    """Mean latency of all that arrived."""
    return run["all_arrivals"]["e2e_s"]["mean"]


def p99_s(run: Run) -> float:
    """The 99th percentile of the same."""
    return run["all_arrivals"]["e2e_s"]["p99"]


def ttft_s(run: Run) -> float:
    """Mean time to the first token of all that arrived."""
    return run["all_arrivals"]["ttft_s"]["mean"]


def throughput_rps(run: Run) -> float:
    """What finished in the window, by its length."""
    return run["window_throughput_rps"]


def slowdown_p99(run: Run) -> float:
    """The 99th percentile of the slowdown."""
    return run["slowdown"]["p99"]


def preemptions(run: Run) -> float:
    """Of running requests, for each that arrived."""
    return run["preemptions"] / run["arrived"]


def recomputed(run: Run) -> float:
    """Thousands of tokens that were computed again."""
    return run["recomputed_tokens"] / 1e3


COLUMNS: tuple[tuple[str, Get], ...] = (
    ("E2E mean, s", mean_s),
    ("E2E P99, s", p99_s),
    ("TTFT mean, s", ttft_s),
    ("throughput in the window, req/s", throughput_rps),
    ("slowdown P99", slowdown_p99),
)
"""What tables tell of a system."""


def of(results: Results, cases: Sequence[Case], get: Get) -> Estimate:
    """The mean over seeds, and its interval."""
    estimate = estimate_of([get(results[case]) for case in cases])
    assert estimate is not None
    return estimate


def ratio(results: Results, cases: Sequence[Case], base: Sequence[Case], get: Get) -> float:
    """How much larger than that of `base`, seed by seed, on the average: -0.25 is a quarter less."""
    pairs = [(get(results[case]), get(results[other])) for case, other in zip(cases, base, strict=True)]
    return statistics.fmean(mine / theirs for mine, theirs in pairs) - 1.0


def shown(estimate: Estimate) -> str:
    """A number with its interval, in as many digits as help."""
    digits = 0 if estimate.mean >= 100 else 1 if estimate.mean >= 10 else 2
    interval = "" if estimate.half_width is None else f" ± {estimate.half_width:,.{digits}f}"
    return f"{estimate.mean:,.{digits}f}{interval}"


def percent(share: float) -> str:
    """A change for people."""
    text = f"{100 * share:+.0f} %".replace("-", "\N{MINUS SIGN}")
    return "0 %" if text[1:] == "0 %" else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(block: str) -> str:
    """Prose in lines of one width; tables, headings and pictures as they are."""
    if block.startswith(("|", "#", "![")):
        return block
    items = re.split(r"\n(?=- |\d+\. )", block.strip("\n"))
    indents = [re.match(r"(- |\d+\. )?", item).end() for item in items]  # pyright: ignore[reportOptionalMemberAccess]
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()), WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
        for item, indent in zip(items, indents, strict=True)
    )
