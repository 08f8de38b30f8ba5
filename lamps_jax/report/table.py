"""Results as tables: on a terminal, as plain text, as Markdown."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lamps_jax.report.document import Document
from lamps_jax.report.runs import (
    CAUSES,
    Comparison,
    Estimate,
    Quantity,
    comparisons,
    estimate_of,
    finished_share,
    of_spread,
    waste_share,
)

MARK = "*"
"""Stands behind the best value of a rate."""


KEYS = ("policy", "rate, req/s", "seed")
"""Headings of the columns that say which run a row is about."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        heading: With the unit.
        show: The cell's text from the estimate over seeds.
        better: Which values are better; None if neither are, and none is marked.
    """

    heading: str
    quantity: Quantity
    show: Callable[[Estimate], str]
    better: Literal["low", "high"] | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, and whether it is the best of its rate."""

    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table in the making: cells without any drawing. A row's first two cells are the system and the rate."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def with_columns(self, places: Sequence[int]) -> "Section":
        """The section with some of its columns."""
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return replace(self, headings=tuple(self.headings[place] for place in places), rows=rows)


def number(value: float, decimals: int | None = None) -> str:
    """Three significant digits, with separators between thousands."""
    return f"{value:,.{_decimals(value) if decimals is None else decimals}f}"


def _decimals(value: float) -> int:
    size = abs(value)
    if size == 0 or size >= 100:
        return 0
    return next(decimals for decimals in range(1, 12) if size >= 10 ** (2 - decimals) or decimals == 5)


def with_interval(estimate: Estimate) -> str:
    """A mean, and behind it half the width of its interval, to the same digit."""
    decimals = _decimals(estimate.mean)
    text = number(estimate.mean, decimals)
    return text if estimate.half_width is None else f"{text} ± {number(estimate.half_width, decimals)}"


def as_percent(estimate: Estimate) -> str:
    """The same for a share, in percent."""
    text = f"{100 * estimate.mean:.1f}"
    return text if estimate.half_width is None else f"{text} ± {100 * estimate.half_width:.1f}"


def as_count(estimate: Estimate) -> str:
    """A count, or the mean of counts to one decimal."""
    return (
        number(estimate.mean, 0)
        if estimate.half_width is None
        else (f"{number(estimate.mean, 1)} ± {number(estimate.half_width, 1)}")
    )


def as_bound(estimate: Estimate) -> str:
    """The same for a lower bound."""
    return f"≥ {with_interval(estimate)}"


SERVICE = (
    Column("finished, %", finished_share, as_percent, "high"),
    Column("E2E mean, s", of_spread("e2e_s", "mean"), with_interval, "low"),
    Column("E2E P99, s", of_spread("e2e_s", "p99"), with_interval, "low"),
    Column("TTFT mean, s", of_spread("ttft_s", "mean"), with_interval, "low"),
    Column("TTFT P99, s", of_spread("ttft_s", "p99"), with_interval, "low"),
    Column("throughput, req/s", lambda run: run.throughput_rps, with_interval, "high"),
    Column("goodput, req/s", lambda run: run.goodput_rps, with_interval, "high"),
)

BOUNDS = tuple(
    Column(f"{short} {statistic}, s", of_spread(name, field, all_arrivals=True), as_bound, "low")
    for name, short in (("e2e_s", "E2E"), ("ttft_s", "TTFT"))
    for statistic, field in (("mean", "mean"), ("P50", "p50"), ("P99", "p99"))
)

MEMORY = (
    *(Column(f"{cause}, %", partial(waste_share, cause=cause), as_percent) for cause in CAUSES),
    Column("all waste, %", partial(waste_share, cause="all"), as_percent, "low"),
    Column("preemptions", lambda run: run.preemptions, as_count),
)


def sections(document: Document, *, over_seeds: bool = True) -> list[Section]:
    """The tables of a document: for each setting latencies and rates, then bounds over all arrivals, then memory.

    A row is a system at a rate: the mean over its seeds with a 95 % interval, or each run if not `over_seeds`. Columns without
    any value are left out, and so are tables without columns. Marks compare means at one rate, whatever the intervals.

    Raises:
        ValueError: As `comparisons` does.
    """
    found = []
    for comparison in comparisons(document):
        unfinished = comparison.any(lambda run: run.unfinished > 0)
        parts: list[tuple[str, Sequence[Column], str]] = [
            ("service", SERVICE, _service_note(comparison, unfinished=unfinished, over_seeds=over_seeds))
        ]
        if unfinished:
            parts.append(("every arrival", BOUNDS, BOUNDS_NOTE))
        parts.append(("memory", MEMORY, MEMORY_NOTE))
        for what, columns, note in parts:
            if shown := [column for column in columns if comparison.any(lambda run, c=column: c.quantity(run) is not None)]:
                title = f"{comparison.setting.title}: {what}"
                found.append(section(comparison, title, shown, note, over_seeds=over_seeds))
    return found


BOUNDS_NOTE = (
    "Censored: over every arrival; a request that had not finished, or had no first token, counts as if it did at the end of the "
    "window. The true values are at least these (≥)."
)
MEMORY_NOTE = "Waste: KV memory held without computing, as a share of the device's pool × the length of the run."


def _service_note(comparison: Comparison, *, unfinished: bool, over_seeds: bool) -> str:
    parts = [
        f"{MARK} best mean at its rate.",
        f"± {comparison.seeds_text}." if over_seeds and comparison.seeds_text else "",
        "Latencies of finished requests alone: those still waiting, the slow ones, are left out." if unfinished else "",
        "Some requests were refused: they can never fit." if comparison.any(lambda run: run.refused > 0) else "",
    ]
    return " ".join(part for part in parts if part)


def section(comparison: Comparison, title: str, columns: Sequence[Column], note: str = "", *, over_seeds: bool = True) -> Section:
    """One table: a row for each system at each rate, or for each run if not `over_seeds`."""
    several = not over_seeds and any(len(runs) > 1 for runs in comparison.runs.values())
    counts = columns[0].quantity is finished_share
    headings = [*KEYS[: 3 if several else 2], *(["finished/arrived"] if counts else [])]
    rows = []
    for rate in comparison.rates:
        keys, estimates = [], []
        for system in comparison.systems:
            seeds = comparison.at(system, rate)
            for runs in [seeds] if over_seeds and seeds else [(run,) for run in seeds]:
                finished, arrived = sum(run.finished for run in runs), sum(run.arrived for run in runs)
                total = [f"{finished:,}/{arrived:,}"] if counts else []
                keys.append(
                    [system, "all at once" if rate is None else f"{rate:g}", *([str(runs[0].seed)] if several else []), *total]
                )
                estimates.append([estimate_of([column.quantity(run) for run in runs]) for column in columns])
        best = [_best(column, [row[place] for row in estimates]) for place, column in enumerate(columns)]
        for key, row in zip(keys, estimates, strict=True):
            cells = [
                Cell("–") if estimate is None else Cell(column.show(estimate), _mean_shown(column, estimate.mean) == best[place])
                for place, (column, estimate) in enumerate(zip(columns, row, strict=True))
            ]
            rows.append((*(Cell(text) for text in key), *cells))
    return Section(title, (*headings, *(column.heading for column in columns)), tuple(rows), note)


def _best(column: Column, estimates: Sequence[Estimate | None]) -> str | None:
    """The mean to mark, as it is shown: what looks the same is equally good. None where there is nothing to choose."""
    means = [estimate.mean for estimate in estimates if estimate is not None]
    if column.better is None or len({_mean_shown(column, mean) for mean in means}) < 2:
        return None
    return _mean_shown(column, min(means) if column.better == "low" else max(means))


def _mean_shown(column: Column, mean: float) -> str:
    return column.show(Estimate(mean, None, 1))


def renderable(document: Document, *, over_seeds: bool = True) -> RenderableType:
    """The tables for a rich console. The best value of a rate is bold and marked."""
    parts: list[RenderableType] = []
    for each in sections(document, over_seeds=over_seeds):
        parts += [Text(each.title, style="bold"), _Fitting(each), Text(each.note, style="dim"), Text()]
    return Group(*parts[:-1])


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A section as one table where the terminal is wide enough, else as several that each name their rows."""

    section: Section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = _rich_table(self.section)
        first = sum(heading in KEYS for heading in self.section.headings)
        middle = (first + len(self.section.headings) + 1) // 2
        wanted = Measurement.get(console, options.update(max_width=10_000), table).maximum
        if middle >= len(self.section.headings) or wanted <= options.max_width:
            yield table
            return
        for places in ([*range(middle)], [*range(first), *range(middle, len(self.section.headings))]):
            yield _Fitting(self.section.with_columns(places))


def _rich_table(section: Section) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    marked = [any(row[place].best for row in section.rows) for place in range(len(section.headings))]
    for place, heading in enumerate(section.headings):
        name, _, unit = heading.partition(", ")
        lines = [part + (" " if marked[place] else "") for part in (f"{name},", unit) if unit] or [heading]
        table.add_column("\n".join(lines), justify="left" if place == 0 else "right", vertical="bottom", no_wrap=True)
    for row, following in zip(section.rows, [*section.rows[1:], None], strict=True):
        # The place of the mark is kept free in unmarked cells, so that digits stay below each other.
        texts = [
            Text(f"{cell.text}{MARK if cell.best else ' ' if marked[place] else ''}", style="bold" if cell.best else "")
            for place, cell in enumerate(row)
        ]
        table.add_row(*texts, end_section=following is not None and following[1] != row[1])
    return table


def as_text(document: Document, *, over_seeds: bool = True, width: int = 160) -> str:
    """The tables as plain text, without colours or spaces at the ends of lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(renderable(document, over_seeds=over_seeds))
    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def as_markdown(document: Document, *, over_seeds: bool = True) -> str:
    """The tables as Markdown; the best value of a rate is bold."""
    return "\n\n".join(markdown(each) for each in sections(document, over_seeds=over_seeds)) + "\n"


def markdown(section: Section) -> str:
    """One table as Markdown, under its title if it has one."""
    return "\n".join(_markdown_lines(section))


def _markdown_lines(section: Section) -> Iterator[str]:
    if section.title:
        yield f"**{section.title}**"
        yield ""
    yield f"| {' | '.join(section.headings)} |"
    yield "|---|" + "---:|" * (len(section.headings) - 1)
    for row in section.rows:
        texts = [cell.text.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(f'**{text}**' if cell.best else text for text, cell in zip(texts, row, strict=True))} |"
    if section.note:
        yield ""
        yield section.note.replace(f"{MARK} best", "Bold: best")
