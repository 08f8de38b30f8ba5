"""A results document as a directory: the document itself, its tables, and every figure that it has data for."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamps_jax.report.document import Document, Run, write_document
from lamps_jax.report.runs import Comparison, comparisons, waste_share
from lamps_jax.report.table import as_markdown, as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lamps_jax.report.figures.style import Look

FORMATS = ("png", "svg", "pdf")


def write_report(document: Document, out_dir: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Writes results.json, table.txt, table.md and the figures; gives their paths in the order of writing.

    Raises:
        ValueError: If a format is unknown, or as `comparisons` does; nothing is written then.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"unknown figure format {unknown[0]!r}; known are {', '.join(FORMATS)}")
    text, markdown = as_text(document), as_markdown(document)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = [out_dir / "results.json", out_dir / "table.txt", out_dir / "table.md"]
    write_document(paths[0], document)
    paths[1].write_text(text, encoding="utf-8")
    paths[2].write_text(markdown, encoding="utf-8")
    if not formats:
        return paths

    from lamps_jax.report.figures.style import save_figure

    for name, draw in figures(document):
        figure = draw()
        for suffix in formats:
            paths.append(out_dir / f"{name}.{suffix}")
            save_figure(figure, paths[-1])
    return paths


def figures(document: Document) -> Iterator[tuple[str, "Callable[[], Figure]"]]:
    """The name of each figure that the document has data for, and what draws it."""
    from lamps_jax.report.figures.style import looks

    found = comparisons(document)
    look = looks(list(dict.fromkeys(system for comparison in found for system in comparison.systems)))
    for comparison, suffix in zip(found, _suffixes(found), strict=True):
        for name, draw in _of_comparison(comparison, look):
            yield f"{name}{suffix}", draw
        for rate in comparison.rates:
            at = "" if len(comparison.rates) == 1 else "-all-at-once" if rate is None else f"-rate-{rate:g}"
            for name, draw in _of_rate(comparison, look, rate):
                yield f"{name}{suffix}{at}", draw


Named = tuple[str, "Callable[[], Figure]"]


def _of_comparison(comparison: Comparison, look: "Mapping[str, Look]") -> Iterator[Named]:
    from lamps_jax.report.figures import bars, rates

    if len(rates.numeric_rates(comparison)) > 1:
        if comparison.any(lambda run: run.e2e_s is not None):
            yield "latency", partial(rates.latency_figure, comparison, look)
        if comparison.any(lambda run: run.unfinished > 0 and run.all_arrivals is not None):
            yield "latency-all-arrivals", partial(rates.latency_figure, comparison, look, all_arrivals=True)
        if comparison.any(lambda run: run.throughput_rps is not None):
            yield "throughput", partial(rates.throughput_figure, comparison, look)
    if comparison.any(lambda run: waste_share(run, "all") is not None):
        yield "waste", partial(bars.waste_figure, comparison)
    if comparison.any(lambda run: bool(run.by_type)):
        yield "finished-by-type", partial(bars.finished_by_type_figure, comparison, look)


def _of_rate(comparison: Comparison, look: "Mapping[str, Look]", rate: float | None) -> Iterator[Named]:
    from lamps_jax.report.figures import distribution, occupancy, timeline

    if any(run.latencies and run.latencies.e2e_s for system in comparison.systems for run in comparison.at(system, rate)):
        yield "cdf", partial(distribution.cdf_figure, comparison, look, rate)
    if chosen := _of_one_seed(comparison, rate, lambda run: bool(run.occupancy and run.occupancy.time_s)):
        yield "occupancy", partial(occupancy.occupancy_figure, comparison, chosen)
    if chosen := _of_one_seed(comparison, rate, lambda run: bool(run.running_mean_e2e and run.running_mean_e2e.time_s)):
        yield "running-mean", partial(occupancy.running_mean_figure, comparison, look, chosen)
    if chosen := _of_one_seed(comparison, rate, lambda run: any(each.spans for each in run.timeline or ())):
        yield "timeline", partial(timeline.timeline_figure, comparison, chosen)


def _of_one_seed(comparison: Comparison, rate: float | None, has_data: Callable[[Run], bool]) -> dict[str, Run]:
    """Runs with data by system, all of the seed that most systems have data for: they saw the same arrivals."""
    runs = [(system, run) for system in comparison.systems for run in comparison.at(system, rate) if has_data(run)]
    if not runs:
        return {}
    seeds = [run.seed for _, run in runs]
    seed = min(set(seeds), key=lambda each: (-seeds.count(each), each))
    return {system: run for system, run in runs if run.seed == seed}


def _suffixes(found: Sequence[Comparison]) -> list[str]:
    """What tells the file names of several settings apart: the parts in which they differ."""
    parts = [
        {
            "kind": setting.kind,
            "workload": setting.workload,
            "model": setting.model,
            "hardware": setting.hardware,
            "window": "" if setting.window_s is None else f"{setting.window_s:g}s",
            "drained": "drained" if setting.drained else "",
        }
        for setting in (comparison.setting for comparison in found)
    ]
    differing = [name for name in parts[0] if len({part[name] for part in parts}) > 1] if parts else []
    slugs = [re.sub(r"[^a-z0-9.]+", "-", "-".join(part[name] for name in differing).lower()).strip("-.") for part in parts]
    # Names that differ only in what a file name cannot say are numbered.
    counts = [slugs[:place].count(slug) for place, slug in enumerate(slugs)]
    return [
        "".join(f"-{part}" for part in (slug, str(count + 1) if count else "") if part)
        for slug, count in zip(slugs, counts, strict=True)
    ]
